"""Finds when exactly a caption begins or ends, from the film's own pictures around a boundary known to a tenth of a second.

Each picture is compared with the pictures before and after the boundary, by the pixels that differ between the two and are steady in
both: those are the letters. The boundary is the first picture more than half-way from before to after; in a fade, the half-visible one.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from core.types import FRAMES_PER_SECOND
from inference.media.strips import Luma

REACH: Final = 12
"""Samples on either side of a boundary that are looked at: enough for a fade of a second."""

_LEAST_LEVELS: Final = 10.0  # by which a pixel before and after must differ, of 255, in addition to its variation
_LEAST_PIXELS: Final = 12
_MOST_PIXELS: Final = 0.12  # of the strip: letters cover less, and if more has changed, it is the background
_STEADY: Final = (0.05, 0.95)  # below the first share of the way a fade has not begun, above the second it is over
_LARGEST_STEP: Final = 0.34  # of the way from one picture to the next: a larger step is a cut of the scene, not a fade
_LEAST_REACH_SECONDS: Final = 0.15  # on either side, as steady pictures to compare with

Levels = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Moment:
    """One picture of the film, cut to a zone."""

    start: float  # seconds
    luma: Luma


def refine(moments: Sequence[Moment], pair: int, earlier: int | None, later: int | None) -> float | None:
    """Return when the first picture after a boundary is shown, in seconds; None if the pictures do not show it.

    Args:
        moments: consecutive pictures around the boundary, ascending; additional ones on either side do not matter.
        pair: the boundary lies between samples ``pair`` and ``pair + 1``.
        earlier, later: the pairs of the boundaries before and after it; None if there is none within ``REACH``.
    """
    window = _within(moments, (pair - REACH) / FRAMES_PER_SECOND, (pair + 1 + REACH) / FRAMES_PER_SECOND)
    gap_before = min(REACH, pair - earlier) if earlier is not None else REACH
    gap_after = min(REACH, later - pair) if later is not None else REACH
    first = (pair - gap_before + 1) / FRAMES_PER_SECOND
    last = (pair + 1 + gap_after) / FRAMES_PER_SECOND
    around = [moment for moment in window if first - 1e-6 <= moment.start < last]
    before = _steady(around, pair / FRAMES_PER_SECOND, -gap_before)
    after = _steady(around, (pair + 1) / FRAMES_PER_SECOND, gap_after)
    if before and after:
        faded = _fade(around, before, after, pair)
        if faded is not None:
            return faded
    return _cut(around, pair)


def _within(moments: Sequence[Moment], first: float, last: float) -> Sequence[Moment]:
    starts = [moment.start for moment in moments]
    return moments[max(0, bisect_left(starts, first) - 1) : bisect_left(starts, last)]


def _steady(around: Sequence[Moment], edge: float, gap: int) -> list[Levels]:
    """Return pictures on one side of the boundary, after any fade there is over and before the next boundary's fade begins."""
    if not around:
        return []
    reach = gap / FRAMES_PER_SECOND
    available = around[0].start - edge if gap < 0 else around[-1].start - edge  # less if the film begins or ends there
    reach = max(reach, available) if gap < 0 else min(reach, available)
    near, far = sorted((edge + 0.45 * reach, edge + 0.8 * reach))
    steady = [moment.luma.astype(np.float32) for moment in around if near <= moment.start <= far]
    if steady or abs(reach) < _LEAST_REACH_SECONDS:
        return steady
    return [min(around, key=lambda moment: abs(moment.start - (near + far) / 2)).luma.astype(np.float32)]


def _fade(around: Sequence[Moment], before: list[Levels], after: list[Levels], pair: int) -> float | None:
    """Return the middle of a fade, or the cut inside the sampled pair; None if the pixels show neither."""
    low, high = np.mean(before, axis=0), np.mean(after, axis=0)
    spread = np.std(before, axis=0) + np.std(after, axis=0)
    weight = np.maximum(0.0, np.abs(high - low) - 2 * spread - _LEAST_LEVELS)
    if not _LEAST_PIXELS <= np.count_nonzero(weight) <= _MOST_PIXELS * weight.size:
        return None
    way = _way(around, low, high, weight)
    over = _crossing(way)
    if over is None:
        return None
    start = around[over].start
    if pair / FRAMES_PER_SECOND - 1e-6 < start <= (pair + 1) / FRAMES_PER_SECOND + 1e-6:
        return start
    below, above = np.flatnonzero(way[:over] < _STEADY[0]), np.flatnonzero(way[over:] > _STEADY[1])
    if not len(below) or not len(above):
        return None
    begun, done = int(below[-1]), over + int(above[0])
    under_way = around[begun].start <= (pair + 1) / FRAMES_PER_SECOND and around[done].start >= pair / FRAMES_PER_SECOND
    return start if under_way and np.diff(way[begun : done + 1]).max() < _LARGEST_STEP else None


def _cut(around: Sequence[Moment], pair: int) -> float | None:
    """Return the first picture between two samples that looks more like the second than like the first."""
    first, second = pair / FRAMES_PER_SECOND, (pair + 1) / FRAMES_PER_SECOND
    starts = [moment.start for moment in around]
    begin = max(0, bisect_left(starts, first + 1e-6) - 1)
    end = bisect_left(starts, second + 1e-6)
    between = around[begin:end]
    if len(between) < 2:
        return None
    low, high = between[0].luma.astype(np.float32), between[-1].luma.astype(np.float32)
    weight = np.maximum(0.0, np.abs(high - low) - _LEAST_LEVELS)
    if np.count_nonzero(weight) < _LEAST_PIXELS:
        return between[-1].start
    over = _crossing(_way(between, low, high, weight))
    return None if over is None else between[over].start


def _way(moments: Sequence[Moment], low: Levels, high: Levels, weight: Levels) -> npt.NDArray[np.float64]:
    """(moments,) how far each picture is from ``low`` to ``high``, 0..1, as the weighted mean of its pixels."""
    used = weight > 0
    base, step, shares = low[used], (high - low)[used], weight[used] / weight[used].sum()
    return np.array([float((np.clip((moment.luma[used] - base) / step, -0.25, 1.25) * shares).sum()) for moment in moments])


def _crossing(way: npt.NDArray[np.float64]) -> int | None:
    """Return the first picture more than half-way, so that most before it are not and most after it are."""
    past = way > 0.5
    if not past.any() or past.all():
        return None
    # Choose the split with the fewest pictures on the wrong side.
    wrong = np.concatenate([[0], np.cumsum(past)]) + np.concatenate([np.cumsum(~past[::-1])[::-1], [0]])
    over = int(wrong.argmin())
    return over if 0 < over < len(way) else None
