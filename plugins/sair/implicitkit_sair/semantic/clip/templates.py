"""The sentences that class names are put into, by name: what CLIP's authors and MaskCLIP's average over."""

from __future__ import annotations

MASKCLIP = (  # what MaskCLIP (Zhou, Loy, Dai; ECCV 2022) adds for scenes
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)
TEMPLATE_SETS = ("clip", "maskclip")


def named_templates(name: str) -> list[str] | None:
    """``"clip"``: the 80 sentences of CLIP's authors for ImageNet, as open_clip lists them; ``"maskclip"``: these and
    five of scenes, 85 in all. None for another name.

    >>> len(named_templates("clip")), len(named_templates("maskclip"))
    (80, 85)
    """
    if name not in TEMPLATE_SETS:
        return None
    import open_clip

    sentences = [str(template("{}")) for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    return sentences + (list(MASKCLIP) if name == "maskclip" else [])
