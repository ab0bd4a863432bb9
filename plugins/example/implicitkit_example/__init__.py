"""Register the decoder with implicitkit."""

import implicitkit as ik


@ik.hookimpl
def register_decoders(register):
    """Called once, at the first look-up."""
    register("example", "implicitkit_example.decoder:Example", summary="a local ensemble of small sine networks")
