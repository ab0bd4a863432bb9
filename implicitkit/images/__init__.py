"""Files and pixels: reading and writing pictures, resizing, transparency, upscaling."""

from implicitkit.errors import ImageError
from implicitkit.images.io import Picture, read_image, read_picture, write_image, write_picture

__all__ = ["ImageError", "Picture", "read_image", "read_picture", "write_image", "write_picture"]
