"""Decides from the film's own pictures whether a caption goes on where the network sees a change between two samples.

Two things look like a change of the caption but are not: something that moves behind small letters, and a box that moves from word
to word of a caption that stays (karaoke). In the first case the letters' own pixels stay as they are. In the second a filled
box disappears beside the place where another one appears.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from inference.finding.boundaries import Moment
from inference.finding.letters import Mask, runs, strokes
from inference.media.box import CropBox

REACH_SECONDS: Final = 0.6
"""How far pictures on either side are looked at: long enough for the background to move, short enough to cost little."""

_SURE_CHANGE: Final = 0.95  # from which on the network sees a new word or letter; what moves behind letters makes it less sure
_MOST_PICTURES: Final = 5  # on either side
_STEADY_LEVELS: Final = 15.0  # standard deviation of a letter's pixel over the pictures of one side
_STEADY_SHARE: Final = 0.8  # of the pictures, in which a letter's pixel belongs to a stroke
_CHANGED_LEVELS: Final = 20.0  # by which the pixel of a vanished letter differs: faint letters differ from their background by 28
_LEAST_LETTERS: Final = 60  # pixels on either side, below which there is too little to compare
_WINDOW: Final = 12  # columns: about the width of one letter
_MOST_CHANGED: Final = 0.4  # of a window's letters: a single new letter changes more of its own window
_BOX_SECONDS: Final = 0.2  # on either side; farther away, the box may be on yet another word
_LEAST_PICTURES: Final = 3  # of them, however few a second the film has: what is steady cannot be seen in one
_BOX_LEVELS: Final = 40.0  # by which a box differs from what is there before or after it
_BOX_RUN: Final = 10  # columns without a gap, more than any stroke has
_BOX_COLUMN: Final = 0.3  # of a box's height, which is filled in each of its columns; letters take the rest
_BOX_FILLED: Final = 0.5
_BOX_HEIGHT: Final = 0.25  # of the strip: the height of a line
_SAME_ROWS: Final = 0.15  # of a box's height
_NEXT_WORD: Final = 0.06  # of the strip's width: the most that separates two neighbouring words, or that words shift by

Levels = npt.NDArray[np.float32]


def goes_on(before: Sequence[Moment], after: Sequence[Moment], change: float) -> bool:
    """Whether the same caption is on both sides of a boundary.

    Args:
        before, after: pictures of one strip that belong to one side only, without any part of a fade, ascending.
        change: the network's probability that the text changes.
    """
    if not before or not after:
        return False
    if change < _SURE_CHANGE and _letters_stay(_side(before), _side(after)):
        return True
    return _box_moves_on(_side(_nearest(before[::-1])), _side(_nearest(after)))


def _nearest(moments: Sequence[Moment]) -> Sequence[Moment]:
    """Return the pictures next to a boundary, of those on one side of it, the nearest one first."""
    near = sum(abs(moment.start - moments[0].start) < _BOX_SECONDS for moment in moments)
    return moments[: max(near, _LEAST_PICTURES)]


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of a boundary.

    Attributes:
        steady: pixels that do not vary.
        letters: those of them that belong to a stroke in nearly all pictures.
        mean: luma.
    """

    steady: Mask
    letters: Mask
    mean: Levels


def _side(moments: Sequence[Moment]) -> _Side:
    chosen = [moments[index] for index in sorted({round(place) for place in np.linspace(0, len(moments) - 1, _MOST_PICTURES)})]
    levels = np.stack([moment.luma for moment in chosen]).astype(np.float32)
    shares = np.mean([strokes(moment.luma) for moment in chosen], axis=0)
    steady = levels.std(axis=0) < _STEADY_LEVELS
    return _Side(steady, steady & (shares >= _STEADY_SHARE), levels.mean(axis=0))


def _letters_stay(earlier: _Side, later: _Side) -> bool:
    """Whether no letter of either side has changed: neither the text as a whole, nor everything within the width of one letter."""
    if min(np.count_nonzero(earlier.letters), np.count_nonzero(later.letters)) < _LEAST_LETTERS:
        return False
    letters = earlier.letters | later.letters
    changed = letters & (np.abs(earlier.mean - later.mean) > _CHANGED_LEVELS)
    window = np.ones(_WINDOW)
    of_letters, of_changed = (np.convolve(mask.sum(axis=0), window, "valid") for mask in (letters, changed))
    counted = of_letters >= _WINDOW
    return bool(counted.any()) and float((of_changed[counted] / of_letters[counted]).max()) < _MOST_CHANGED


def _box_moves_on(earlier: _Side, later: _Side) -> bool:
    """Whether a filled box moves to the next word, and the text keeps its place."""
    steady = earlier.steady & later.steady
    rises, falls = (_filled(steady & (sign * (later.mean - earlier.mean) > _BOX_LEVELS)) for sign in (1, -1))
    if rises is None or falls is None:
        return False
    slack = _SAME_ROWS * max(rises.height, falls.height)
    if abs(rises.top - falls.top) > slack or abs(rises.bottom - falls.bottom) > slack:
        return False
    columns = earlier.mean.shape[1]
    # Lines are read from left to right or from right to left: in both cases the box moves to a neighbouring word.
    left, right = sorted((rises, falls), key=lambda box: box.left)
    return abs(right.left - left.right) <= _NEXT_WORD * columns and _extent_stays(earlier, later, left, right)


def _filled(mask: Mask) -> CropBox | None:
    """Find a filled box, whose letters may leave holes."""
    rows_of_runs = np.zeros_like(mask)
    for row, flags in enumerate(mask):
        for first, end in runs(flags):
            rows_of_runs[row, first:end] = end - first >= _BOX_RUN
    rows = np.flatnonzero(rows_of_runs.any(axis=1))
    if not len(rows):
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = runs(rows_of_runs[top:bottom].sum(axis=0) >= _BOX_COLUMN * (bottom - top))
    if not columns or bottom - top < _BOX_HEIGHT * len(mask):
        return None
    left, right = max(columns, key=lambda run: run[1] - run[0])
    box = CropBox(left, top, right, bottom)
    return box if rows_of_runs[top:bottom, left:right].mean() >= _BOX_FILLED else None


def _extent_stays(earlier: _Side, later: _Side, left: CropBox, right: CropBox) -> bool:
    """Whether the line of the boxes begins and ends at about the same columns on both sides."""
    ends = []
    for side in (earlier, later):
        columns = np.flatnonzero(side.letters[left.top : left.bottom].any(axis=0))
        if not len(columns):
            return False  # a shape without any letters is no word's box
        ends.append((min(left.left, int(columns[0])), max(right.right, int(columns[-1]))))
    return all(abs(a - b) <= _NEXT_WORD * earlier.mean.shape[1] for a, b in zip(*ends, strict=True))
