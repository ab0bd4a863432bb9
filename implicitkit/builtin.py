"""What comes in the box, registered through the same functions that a plugin writes."""

from __future__ import annotations

from implicitkit.hookspecs import Register, hookimpl


@hookimpl
def register_encoders(register: Register) -> None:
    """The built-in encoders."""
    edsr = "implicitkit.encoders.edsr"
    register("edsr_baseline", f"{edsr}:EDSR", summary="EDSR, 16 blocks of 64 channels (1.2 M parameters)")
    register(
        "edsr", f"{edsr}:edsr", summary="EDSR at its published size, 32 blocks of 256 channels; any other on request"
    )


@hookimpl
def register_decoders(register: Register) -> None:
    """The built-in decoders."""
    register("liif", "implicitkit.decoders.liif:LIIF", summary="local implicit image function (CVPR 2021)")


@hookimpl
def register_degradations(register: Register) -> None:
    """The built-in degradations."""
    register(
        "super_resolution",
        "implicitkit.degradations.super_resolution:SuperResolution",
        summary="bicubic downscaling by any factor, as MATLAB or as Pillow does it",
    )


@hookimpl
def register_models(register: Register) -> None:
    """The named models."""
    zoo = "implicitkit.weights.zoo"
    register("liif_small", f"{zoo}:liif_small", summary="the model in the box", metadata={"pretrained": True})
    register("liif_edsr_baseline", f"{zoo}:liif_edsr_baseline", summary="LIIF as published: EDSR-baseline, MLP 256x4")


@hookimpl
def register_losses(register: Register) -> None:
    """The built-in losses."""
    register("l1", "implicitkit.losses:L1", summary="mean absolute difference")


@hookimpl
def register_metrics(register: Register) -> None:
    """The built-in metrics."""
    register("psnr", "implicitkit.metrics:psnr", summary="peak signal-to-noise ratio over all channels, dB")
    register(
        "psnr_y",
        "implicitkit.metrics:psnr_y",
        summary="PSNR of the luma, as the super-resolution benchmarks use it, dB",
    )
