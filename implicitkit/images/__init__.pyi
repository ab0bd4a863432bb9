"""What a plugin may import from this room; docs/plugins.md says what each is for."""

from .filling import FILLS as FILLS, Fill as Fill, fill_holes as fill_holes
from .folders import Origin as Origin, picture_files as picture_files, pictures_in as pictures_in
from .harmonic import biharmonic_fill as biharmonic_fill, harmonic_fill as harmonic_fill
from .io import (
    WRITABLE as WRITABLE,
    ImageError as ImageError,
    Picture as Picture,
    check_writable as check_writable,
    read_image as read_image,
    read_mask as read_mask,
    read_metadata as read_metadata,
    read_picture as read_picture,
    to_pixels as to_pixels,
    to_tensor as to_tensor,
    write_image as write_image,
    write_picture as write_picture,
)
from .metadata import ImageMetadata as ImageMetadata, ImageWarning as ImageWarning
from .transparency import fill_transparent as fill_transparent
from .upscale import Enlargement as Enlargement, refuse_distortion as refuse_distortion
