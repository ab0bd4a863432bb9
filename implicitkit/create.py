"""How anything comes into being: by name, by spec, from a file; and how a name comes to be known.

    model = ik.create_model("liif_edsr_baseline")           # a registered name, random weights
    model = ik.create_model({"encoder": "rdn", "decoder": "lte"})
    model = ik.load_model("photo_model.safetensors")        # a file, ours or the authors'
    model = ik.load_model("hf-hub:Organisation/name")

    @ik.register_decoder("mine")
    class Mine(ik.LocalEnsembleDecoder): ...

What only builds is imported when something is built, so that names can be listed without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from implicitkit.errors import PluginError, UnknownNameError, UserError, WeightsError
from implicitkit.registry.kinds import (
    decoders,
    degradations,
    encoders,
    enrol,
    losses,
    metrics,
    models,
    plugins,
    protocols,
    shipped_file,
)
from implicitkit.registry.plugins import Plugin
from implicitkit.registry.registry import Entry, Registry, article, check_arguments

if TYPE_CHECKING:
    from implicitkit.config import ModelSpec
    from implicitkit.decoders.base import Decoder
    from implicitkit.degradations.base import Degradation
    from implicitkit.encoders.base import Encoder
    from implicitkit.metrics.base import Metric
    from implicitkit.model import ImplicitModel
    from implicitkit.weights.checkpoint import Checkpoint
