"""Finds where in a picture there may be letters: many thin strokes close together, in a row.

This only says where to look. The network decides whether that is writing, and changes over the film decide whether it is a caption.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

LumaMap = npt.NDArray[np.uint8]  # (height, width)
Mask = npt.NDArray[np.bool_]

WORKING_SIDE: Final = 640
"""Pixels of a picture's longer side in a search: there, letters of a readable caption have strokes of 1 to 5 pixels."""

_REACHES: Final = (2, 4, 6)  # pixels from a stroke's middle to the background beside it
_LEAST_LEVELS: Final = 28  # by which a stroke differs from the background on both sides
_WINDOW: Final = (7, 45)  # rows and columns over which strokes are counted
_LEAST_SHARE: Final = 0.16  # of a window's pixels that belong to strokes
_LEAST_COLUMNS: Final = 0.035  # of the picture's width that a row of letters covers: a word of four letters
_LEAST_ROWS: Final = 6
_MOST_ROWS: Final = 0.17  # of the picture's shorter side, for two lines that touch; anything higher is texture


@dataclass(frozen=True, slots=True)
class Line:
    """A row of strokes: first and last row and column + 1, in pixels of the searched picture."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top


def strokes(luma: LumaMap) -> Mask:
    """Find pixels that are lighter, or darker, than those a few pixels to their left and those to their right."""
    levels = luma.astype(np.int16)
    mask = np.zeros(luma.shape, bool)
    for reach in _REACHES:
        middle = levels[:, reach:-reach]
        left, right = middle - levels[:, : -2 * reach], middle - levels[:, 2 * reach :]
        light = np.minimum(left, right) >= _LEAST_LEVELS
        dark = np.maximum(left, right) <= -_LEAST_LEVELS
        mask[:, reach:-reach] |= light | dark
    return mask


def lines(mask: Mask, shorter_side: int | None = None) -> list[Line]:
    """Find rows of strokes, from top to bottom.

    Args:
        shorter_side: of the whole picture, if the mask is a part of it.
    """
    dense = _density(mask) >= _LEAST_SHARE
    height, width = mask.shape
    rows = dense.sum(axis=1) >= _LEAST_COLUMNS * width
    most = _MOST_ROWS * (shorter_side or min(height, width))
    result = []
    for top, bottom in runs(rows):
        if _LEAST_ROWS <= bottom - top <= most:
            columns = np.flatnonzero(dense[top:bottom].any(axis=0))
            result.append(Line(top, bottom, int(columns[0]), int(columns[-1]) + 1))
    return result


def _density(mask: Mask) -> npt.NDArray[np.floating]:
    """Return the share of set pixels in a window around each pixel."""
    shares: npt.NDArray[np.floating] = mask.astype(np.float32)
    for axis, size in enumerate(_WINDOW):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (size // 2 + 1, size // 2)
        sums = np.cumsum(np.pad(shares, padding), axis=axis)
        upper, lower = [slice(None)] * 2, [slice(None)] * 2
        upper[axis], lower[axis] = slice(size, None), slice(None, -size)
        shares = (sums[tuple(upper)] - sums[tuple(lower)]) / size
    return shares


def runs(flags: Mask) -> list[tuple[int, int]]:
    """Return first and last + 1 of each run of set flags."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
