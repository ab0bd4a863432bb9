"""Layouts of other repositories' files: the keys of each encoder, neck and decoder, and our names for them.

A file holds one encoder and one decoder, and perhaps a neck, recognised independently, so every pair works. Tensors are
renamed first; the architecture then follows from their shapes. The first layout whose sign is there counts.
"""

from implicitkit.weights.layouts import basis, encoders, flax, galerkin, gaussians, joint, local, span
from implicitkit.weights.layouts.base import DecoderLayout, EncoderLayout, NeckLayout, Tensors, renamed

DECODERS = (*galerkin.DECODERS, *joint.DECODERS, *basis.DECODERS, *flax.DECODERS, *gaussians.DECODERS, *local.DECODERS)
ENCODERS = (*encoders.ENCODERS, *span.ENCODERS)
NECKS = flax.NECKS

__all__ = ["DECODERS", "ENCODERS", "NECKS", "DecoderLayout", "EncoderLayout", "NeckLayout", "Tensors", "renamed"]
