"""What SIR learns from: the features of the clean picture, which the model itself never sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit import Encoder, Features, ImplicitModel
from implicitkit.decoders import Bilinear
from implicitkit.losses import Batch, Loss
from implicitkit_sair.training.feature_cache import FeatureCache

if TYPE_CHECKING:
    from implicitkit import Prediction


class Semantic(Loss):
    """The semantic field's values against the clean picture's features at the same points.

    The targets are the features that the semantic model's own encoder gives of the clean picture, without a hole,
    interpolated linearly between the centres of their cells. They are made here, behind the prediction: nothing of the
    clean picture enters the model. In a SAIR, ``prediction.conditions[condition]`` is compared; a semantic model that
    is trained alone is recognised by its output, an embedding, and ``prediction.values`` are.

    Args:
        condition: the name of the semantic field.
        kind: ``"l1"``, the mean absolute difference, or ``"cosine"``, the mean of 1 - cosine similarity, in [0, 2],
            which leaves the length of the embeddings open.
        cache: keep the clean features on disk, see ``FeatureCache``: for fixed
            pictures (crops of the whole picture, without flips), not for random crops.

    Raises:
        ValueError: ``kind`` is neither, or, on :meth:`attach`, the model has no such condition, its encoder is not
            frozen, or its embeddings are not of the encoder's width.
    """

    wants_reference: ClassVar[bool] = True

    def __init__(self, condition: str = "semantic", kind: Literal["l1", "cosine"] = "l1", cache: bool = False) -> None:
        if kind not in ("l1", "cosine"):
            raise ValueError(f"kind is 'l1' or 'cosine'; received {kind!r}")
        self.condition, self.kind, self.cache = condition, kind, cache
        self._alone = False
        self._clean: ImplicitModel | None = None

    def attach(self, model: ImplicitModel) -> None:
        self._alone = model.decoder.output == "embedding"
        self.reads = () if self._alone else (self.condition,)
        if not self._alone and self.condition not in model.conditions:
            raise ValueError(
                f"semantic compares the condition {self.condition!r}; the model's conditions are "
                f"{sorted(model.conditions.keys()) or 'none'}"
            )
        semantic = model if self._alone else model.conditions[self.condition]
        encoder, width = semantic.encoder, semantic.decoder.out_channels
        if encoder.trainable:  # it could make its own targets easy: the same everywhere
            raise ValueError(
                f"semantic takes its targets from {type(encoder).__name__}, which must not learn; set trainable: false "
                "on the semantic model's encoder"
            )
        if width != encoder.out_channels:
            raise ValueError(
                f"the semantic field has {width} values per point, its encoder {encoder.out_channels} features; create "
                f"the decoder with out_channels={encoder.out_channels}"
            )
        source = Remembered(encoder) if self.cache else encoder
        self._clean = ImplicitModel(source, Bilinear(encoder.out_channels, project=False), inputs=semantic.inputs)
        self._clean.eval()

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        target = self.target(batch)
        values = prediction.values if self._alone else prediction.conditions[self.condition]
        if self.kind == "cosine":
            return (1 - F.cosine_similarity(values, target, dim=-1)).mean()
        return (values - target).abs().mean()

    def target(self, batch: Batch) -> Tensor:
        """The clean pictures' features ``(B, N, C)`` at ``batch["coords"]``, without a graph.

        Raises:
            ValueError: the loss was not attached to a model, or the batch has no clean pictures.
        """
        if self._clean is None:
            raise ValueError("semantic needs the model whose features it compares; call loss.attach(model) first")
        if "reference" not in batch:
            raise ValueError("semantic needs the clean pictures, batch['reference'] (B, 3, H, W); received none")
        reference, coords = batch["reference"], batch["coords"]
        if isinstance(reference, Tensor):
            return self._clean.encode(reference)(coords)
        each = [self._clean.encode(r[None])(c[None]) for r, c in zip(reference, coords, strict=True)]
        return torch.cat(each)


class Remembered(Encoder):
    """A frozen encoder that looks for its features on disk before it computes them.

    The key is made at the first picture, not before: by then, whatever was to be loaded into the encoder is.
    """

    trainable = False

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        for name in ("in_channels", "mask_channels", "out_channels", "stride", "size_multiple", "radius", "ndim"):
            setattr(self, name, getattr(encoder, name))
        self._stored: FeatureCache | None = None

    def forward(self, x: Tensor) -> Features:
        if self._stored is None:
            self._stored = FeatureCache(self.encoder)
        map = self._stored(x, lambda missing: self.encoder(missing).map)
        if getattr(self.encoder, "view", None) is not None:  # it pads nothing
            return Features(map, extent=tuple(x.shape[2:]))
        return Features(map, extent=tuple(cells * self.stride for cells in map.shape[2:]))
