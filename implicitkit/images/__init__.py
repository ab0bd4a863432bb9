"""Files and pixels: reading and writing pictures, resizing, transparency, upscaling."""
