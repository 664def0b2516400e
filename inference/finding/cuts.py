"""Finds the cuts of a film: pictures that differ from the one before in much more than a caption. A change of a caption's strip at a
cut says little by itself."""

from typing import Final

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from inference.media.box import CropBox
from inference.media.film import Film
from inference.media.strips import Cutter

_ROWS, _COLUMNS = 54, 96  # evenly spaced pixels that are compared
_CELL: Final = 2  # rows and columns of these pixels that are averaged, so that noise does not count
_LEVELS: Final = 12.0  # by which a cell changes
_LEAST_SHARE: Final = 0.25  # of the cells: a caption that appears changes a twentieth


class Cuts:
    """Compares each picture with the one before. Owned by one thread."""

    def __init__(self, film: Film) -> None:
        self._cutter = Cutter(film, CropBox(0, 0, film.width, film.height))
        self._last: npt.NDArray[np.float64] | None = None

    def is_cut(self, frame: VideoFrame) -> bool:
        """Whether at least a quarter of the picture differs from that of the previous call. The first picture is not a cut."""
        luma = self._cutter.luma(frame, _ROWS, _COLUMNS)  # uncut: the box is the whole picture
        height, width = (side // _CELL for side in luma.shape)
        cells = luma[: height * _CELL, : width * _CELL].reshape(height, _CELL, width, _CELL).mean(axis=(1, 3))
        last, self._last = self._last, cells
        return last is not None and float((np.abs(cells - last) > _LEVELS).mean()) >= _LEAST_SHARE
