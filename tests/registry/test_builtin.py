"""What comes in the box."""

from __future__ import annotations

import implicitkit as ik


def test_built_ins_belong_to_us() -> None:
    from implicitkit.registry import kinds

    for kind in ("encoders", "decoders", "degradations", "models", "losses", "metrics", "protocols"):
        for entry in getattr(kinds, kind).entries():
            assert entry.owner.distribution == "implicitkit"
            assert entry.summary
            assert callable(entry.resolve())
    assert ik.list_encoders("*edsr*") == ["edsr", "edsr_baseline"]
    assert ik.list_models(pretrained=True) == ["fast", "fast_real", "liif_small"]
