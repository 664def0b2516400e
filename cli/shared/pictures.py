"""Pictures as files."""

import io
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

FORMATS: Final = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""The formats of pictures, by the extensions of their files."""

_JPEG_QUALITY: Final = 90  # letters keep clean edges


def encoded(picture: Image.Image, extension: str) -> bytes:
    """A picture as a file of this extension, one of ``FORMATS``."""
    file = io.BytesIO()
    picture.save(file, FORMATS[extension.lower()], quality=_JPEG_QUALITY)
    return file.getvalue()


def png(picture: Image.Image | npt.NDArray[np.uint8], *, optimize: bool = False) -> bytes:
    """A picture, or RGB of shape (height, width, 3), as a PNG file.

    Args:
        optimize: smaller and slower, for files that are shared.
    """
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=optimize)
    return file.getvalue()
