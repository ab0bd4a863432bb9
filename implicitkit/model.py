"""The model: an encoder, necks, a decoder, and the models whose fields the decoder reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from implicitkit.compatibility import as_batch, as_mask, check_kinds, check_parts
from implicitkit.decoders.base import Decoder
from implicitkit.decoders.mlp import is_hooked
from implicitkit.encoders.base import Encoder
from implicitkit.field.field import Field, Prediction
from implicitkit.images.filling import Fill, check_fill, trained_fill
from implicitkit.images.io import check_values
from implicitkit.necks.base import Neck
from implicitkit.printing import size_in_words
from implicitkit.registry.origins import how_to_create, origins_of
from implicitkit.weights.checkpoint import Checkpoint
from implicitkit.weights.hub import HubMixin
from implicitkit.weights.native import fingerprint, write_native


class ImplicitModel(HubMixin, nn.Module):
    """An encoder and a decoder, and other models (*conditions*) whose fields the decoder reads at the same coordinates.

    Args:
        encoder: picture -> features.
        decoder: features and coordinates -> values.
        conditions: one model per name in ``decoder.conditions``.
        necks: what refines the encoder's features before the decoder gets them, in order.
        inputs: the encoder's inputs: ``("image",)`` or ``("image", "mask")``.
        scales: the range of magnifications it was trained on, if any.
        fill: how to fill missing pixels for the encoder, see :func:`implicitkit.images.filling.fill_holes`; None: as
            in training, or 0.5. The picture's own values there are never used.
        passes: 2: encode the output, at the picture's own size, in a second pass, with the mask and the conditions of
            the first.

    A part with ``trainable = False`` is frozen: no gradients, always in eval mode.

    Raises:
        ValueError: the parts do not fit; the message says which number to change.

    >>> import implicitkit as ik
    >>> model = ImplicitModel(ik.create_encoder("edsr", blocks=1, channels=8), ik.create_decoder("liif", in_channels=8))
    >>> model.encode(torch.rand(3, 8, 8)).render((16, 24)).shape
    torch.Size([3, 16, 24])
    """

    mean: float = 0.5  # the decoder's output is (picture - mean) / std, the authors' [-1, 1]
    std: float = 0.5

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        conditions: Mapping[str, ImplicitModel] | None = None,
        *,
        necks: Sequence[Neck] = (),
        inputs: Sequence[str] = ("image",),
        scales: tuple[float, float] | None = None,
        passes: int = 1,
        fill: Fill | None = None,
    ) -> None:
        super().__init__()
        check_kinds(encoder, decoder)
        self.fill = fill if fill is None else check_fill(fill)
        self.inputs = tuple(inputs)
        self.scales = scales
        self.passes = passes
        self.encoder = encoder
        self.necks: Sequence[Neck] = nn.ModuleList(necks)  # type: ignore[assignment]
        self.decoder = decoder
        self.conditions: dict[str, ImplicitModel] = nn.ModuleDict(conditions or {})  # type: ignore[assignment]
        self.training_summary: dict[str, Any] = {}
        self.license = ""
        check_parts(encoder, necks, decoder, self.conditions.keys(), self.inputs)
        decoder.connect(dict(self.conditions.items()))
        for part in (encoder, *necks, decoder):
            if not part.trainable:
                part.requires_grad_(False).eval()

    def __repr__(self) -> str:
        """One line; ``nn.Module.__repr__(model.encoder)`` prints every layer of the encoder.

        >>> import implicitkit as ik
        >>> ik.create_model("liif_edsr_baseline")
        ImplicitModel(edsr_baseline -> liif, 1.6 M parameters, trained ×1–×4)
        """
        parts = [
            " -> ".join(part.title for part in (self.encoder, *self.necks, self.decoder)),
            *(f"{name}: {c.encoder.title} -> {c.decoder.title}" for name, c in self.conditions.items()),
            size_in_words(sum(p.numel() for p in self.parameters())),
        ]
        if self.takes_mask:
            parts.append("takes a mask")
        if self.scales:
            parts.append("trained " + "–".join(f"×{scale:g}" for scale in self.scales))
        return f"ImplicitModel({', '.join(parts)})"

    @property
    def ndim(self) -> int:
        """Dimensions of the coordinates: 2 for pictures."""
        return self.encoder.ndim

    @property
    def sight(self) -> int | None:
        """How far a pixel matters to a query, in pixels: the encoder's radius, the necks' and the decoder's reach;
        None: everywhere, so that the picture cannot be encoded in tiles.

        >>> import implicitkit as ik
        >>> ik.create_model("liif_edsr_baseline").sight
        36
        """
        steps = [*(neck.radius for neck in self.necks), self.decoder.reach]
        if self.encoder.radius is None or None in steps:
            return None
        return self.encoder.radius + sum(cells for cells in steps if cells is not None) * self.encoder.stride

    def refine(self, map: Tensor) -> Tensor:
        """The encoder's map after all necks; frozen ones without gradients."""
        for neck in self.necks:
            with nullcontext() if neck.trainable else torch.no_grad():
                map = neck(map)
        return map

    @property
    def takes_mask(self) -> bool:
        """Whether the model, or a model it reads, takes the mask."""
        return "mask" in self.inputs or any(c.takes_mask for c in self.conditions.values())

    @property
    def uses_cell(self) -> bool:
        """Whether points need the size of an output pixel."""
        return self.decoder.uses_cell or any(c.uses_cell for c in self.conditions.values())

    @property
    def hole_fill(self) -> Fill:
        """The fill of holes: :attr:`fill`, or that of the training's degradation, or 0.5."""
        return self.fill or trained_fill(self.training_summary.get("degradation") or [])

    @property
    def needs(self) -> dict[str, Any]:
        """What the model needs of a picture: channels, mask, stride, size multiple, receptive field, trained scales.

        The receptive field, in pixels or ``"global"``, is the widest of its encoder's and those of the models it reads.

        >>> import implicitkit as ik
        >>> ik.load_model("liif_small").needs["trained_scales"]
        (1.2, 4.0)
        """
        return {
            "input_channels": self.encoder.in_channels,
            "mask": self.takes_mask,
            "stride": self.encoder.stride,
            "size_multiple": self.encoder.size_multiple,
            "receptive_field": self._receptive_field(),
            "trained_scales": self.scales,
        }

    @property
    def spec(self) -> dict[str, Any]:
        """The spec from which ``ik.create_model`` builds the same model.

        Raises:
            ValueError: a part was not built by name.
        """
        spec: dict[str, Any] = {
            "encoder": _spec_of(self.encoder, "encoder"),
            "decoder": _spec_of(self.decoder, "decoder"),
        }
        if len(self.necks):
            necks = [_spec_of(neck, "neck") for neck in self.necks]
            spec["neck"] = necks[0] if len(necks) == 1 else necks
        if self.conditions:
            spec["conditions"] = {name: condition.spec for name, condition in self.conditions.items()}
        if self.inputs != ("image",):
            spec["inputs"] = list(self.inputs)
        if self.scales:
            spec["scales"] = list(self.scales)
        if self.passes != 1:
            spec["passes"] = self.passes
        if self.fill is not None:
            spec["fill"] = self.fill if isinstance(self.fill, str) or len(self.fill) > 1 else self.fill[0]
        return spec

    def encode(
        self,
        image: Tensor,
        mask: Tensor | None = None,
        *,
        tile: int | None = None,
        precision: str | None = None,
        grad: bool = False,
        conditions: Mapping[str, Field] | None = None,
        passes: int | None = None,
        fill: Fill | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Field:
        """The picture as a :class:`Field`.

        Args:
            image: ``(C, *S)`` or ``(B, C, *S)`` in [0, 1].
            mask: ``(1, *S)`` or ``(B, 1, *S)``, 1 where pixels are missing, for models that take one (default:
                nothing is missing).
            tile: encode lazily in tiles of this many pixels; None encodes the whole picture now. Where memory runs out,
                use smaller tiles (and blocks of queries), with the same result, unless ``grad``.
            precision: ``"float32"``, ``"bfloat16"`` or ``"float16"`` for the networks (coordinates stay float32);
                None keeps autocast as it is.
            grad: keep the graph, to differentiate by coordinates, the picture or the weights (docs/concepts.md).
                Without it, asking for a derivative is an error. Training uses :meth:`forward`.
            conditions: fields to read instead of encoding the picture with the model's own conditions.
            passes: number of passes (default: the model's own ``passes``).
            fill: how to fill the picture where ``mask`` is 1 (default: :attr:`hole_fill`).
            options: of all questions to the field that have none of their own, such as ``{"temperature": 0.8}``; the
                decoder's :attr:`~Decoder.options` names them.

        Raises:
            ValueError: the picture or the mask does not fit, holds values far outside of [0, 1] or NaN, or requires a
                gradient without ``grad``.

        >>> import implicitkit as ik
        >>> ik.load_model("liif_small").encode(torch.rand(2, 3, 8, 8), tile=4)
        Field(2×(3, 8, 8), liif, float32, cpu)
        """
        how: dict[str, Any] = {"tile": tile, "precision": precision, "grad": grad, "options": options}
        if is_hooked(self):  # called as PyTorch calls a module, for its hooks to fire
            how |= {"conditions": conditions, "passes": passes, "fill": fill}
            return self(image, mask=mask, encode=how)  # type: ignore[no-any-return]
        return self._encode(image, mask, how, conditions, passes, fill)

    def _encode(
        self,
        image: Tensor,
        mask: Tensor | None,
        how: Mapping[str, Any],
        conditions: Mapping[str, Field] | None,
        passes: int | None,
        fill: Fill | None,
    ) -> Field:
        passes = self.passes if passes is None else passes
        if passes < 1:
            raise ValueError(f"passes is at least 1; received {passes}")
        known, missing = self.check_inputs(image, mask)
        check_values(known if missing is None else torch.where(missing > 0.5, 0, known))
        field = Field(self, image, mask, conditions=conditions, fill=self.hole_fill if fill is None else fill, **how)
        for _ in range(passes - 1):
            if self.decoder.output != "picture":
                raise ValueError("only a picture can be fed back; this model's output is an embedding")
            painted = field.render(field.size)
            field = Field(self, painted, mask, conditions=field.conditions, **how)  # no fill: encode the painted holes
        return field

    def forward(
        self,
        image: Tensor,
        coords: Tensor | None = None,
        cell: Tensor | None = None,
        mask: Tensor | None = None,
        wanted: Collection[str] | None = None,
        *,
        encode: Mapping[str, Any] | None = None,
    ) -> Prediction | Field:
        """Values at ``coords`` ``(B, N, d)`` of pictures ``(B, C, *S)``, with those of the conditions ``wanted``
        (default: all). Training uses this alone. With the arguments ``encode`` of :meth:`encode`, what that returns: a
        model with hooks is called so.

        Raises:
            ValueError: there are no ``coords``; ``model.encode(image).render(size)`` needs none.
        """
        if encode is not None:
            how = {key: encode[key] for key in ("tile", "precision", "grad", "options")}
            return self._encode(image, mask, how, encode["conditions"], encode["passes"], encode["fill"])
        if coords is None:
            raise ValueError("a model called like this needs coords; model.encode(image).render(size) makes a picture")
        return Field(self, image, mask, grad=torch.is_grad_enabled(), fill=self.hole_fill).predict(coords, cell, wanted)

    def train(self, mode: bool = True) -> ImplicitModel:
        """Set the mode; frozen parts stay in eval mode."""
        super().train(mode)
        for part in (self.encoder, *self.necks, self.decoder):
            if not part.trainable:
                part.eval()
        return self

    def save(self, path: str | Path, *, dtype: torch.dtype | None = None, license: str | None = None) -> Path:
        """Write the model as one native ``.safetensors`` file, atomically.

        Args:
            path: the file; it must end in ``.safetensors``.
            dtype: type of the stored weights (``torch.float16`` halves the file); reading converts them to float32.
            license: terms of the weights (default: the model's own).

        Raises:
            ValueError: a part of the model was not built by name.
            UserError: the file cannot be written.

        >>> import implicitkit as ik, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ik.load_model(ik.load_model("liif_small").save(f"{folder}/copy.safetensors")).scales
        (1.2, 4.0)
        """
        frozen = self._published_parts()
        omitted = tuple(f"{part}." for part in frozen)
        tensors = {name: value for name, value in self.state_dict().items() if not name.startswith(omitted)}
        terms = self.license if license is None else license
        spec = self.spec
        checkpoint = Checkpoint(spec, tensors, self.training_summary, terms, frozen, origins=origins_of(spec))
        return write_native(checkpoint, path, dtype=dtype)

    def check_inputs(self, image: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``image`` and ``mask`` as float32 batches on the model's device; raises ``ValueError`` if they do not fit."""
        picture = as_batch(image, self.encoder, next(self.parameters(), image).device)
        if mask is not None and not self.takes_mask:
            raise ValueError(f"this model takes no mask (its inputs: {', '.join(self.inputs)})")
        if mask is None:
            return picture, (picture.new_zeros(len(picture), 1, *picture.shape[2:]) if self.takes_mask else None)
        return picture, as_mask(mask, picture)

    def _receptive_field(self) -> int | str:
        fields = [self.encoder.receptive_field, *(c._receptive_field() for c in self.conditions.values())]
        widths = [pixels for pixels in fields if isinstance(pixels, int)]
        return max(widths) if len(widths) == len(fields) else "global"

    def _published_parts(self, where: str = "") -> dict[str, dict[str, str]]:
        """The frozen parts with published weights: path -> source, and the SHA-256 of their tensors."""
        parts: dict[str, dict[str, str]] = {}
        necks = {f"necks.{k}": neck for k, neck in enumerate(self.necks)}
        for name, part in {"encoder": self.encoder, **necks, "decoder": self.decoder}.items():
            if not part.trainable and part.source:
                parts[where + name] = {"source": part.source, "sha256": fingerprint(part)}
        for name, condition in self.conditions.items():
            parts |= condition._published_parts(f"{where}conditions.{name}.")
        return parts


def _spec_of(part: Encoder | Neck | Decoder, kind: str) -> dict[str, Any]:
    spec = part.spec
    if spec is None:
        raise ValueError(
            f"the {kind} {type(part).__name__} was not built by name, so a file cannot describe it; "
            f"use {how_to_create(kind, type(part))}"
        )
    trainable = part.trainable
    return {**spec, **({} if trainable == type(part).trainable else {"trainable": trainable})}
