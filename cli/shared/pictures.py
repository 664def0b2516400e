"""Pictures as files."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image


def png(picture: Image.Image | npt.NDArray[np.uint8], *, optimize: bool = False) -> bytes:
    """A picture, or RGB of shape (height, width, 3), as a PNG file.

    Args:
        optimize: smaller and slower, for files that are shared.
    """
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=optimize)
    return file.getvalue()
