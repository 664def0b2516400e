"""Finds when exactly a caption begins or ends, from the film's own pictures around a boundary known to a tenth of a second.

Each picture is compared with the pictures before and after the boundary, by the pixels that differ between the two and are steady in
both: those are the letters. The boundary is the first picture more than half-way from before to after. In a fade it is the picture in
which a person sees half of the caption.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from core.labels import DIFFERENT, EMPTY_VALID, VALID_EMPTY
from core.types import FRAMES_PER_SECOND
from inference.media.strips import Luma

REACH: Final = 12
"""Samples on either side of a boundary that are looked at: enough for a fade of a second."""

_LEAST_LEVELS: Final = 10.0  # by which a pixel before and after must differ, of 255, in addition to its variation
_LEAST_PIXELS: Final = 12
_MOST_PIXELS: Final = 0.12  # of the strip: letters cover less, and if more has changed, it is the background
_AFTER_A_FADE: Final = (0.55, 0.85)  # of ``REACH``, where a fade of a second is over
_BETWEEN_FADES: Final = (0.4, 0.6)  # of the way to another boundary, which may be the half of a fade, too
_STEADY: Final = (0.05, 0.95)  # below the first share of the way a fade has not begun, above the second it is over
_HALF: Final = {EMPTY_VALID: 0.565, VALID_EMPTY: 0.45, DIFFERENT: 0.5}
"""Share of the way in luma at which a person sees half of a fading caption. In 12 fades of a real film that was 0.4 to 0.75 of the
caption's luma, most often a little more than a half."""
_LARGEST_STEP: Final = 0.34  # of the way from one picture to the next: a larger step is a cut of the scene, not a fade

Levels = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Moment:
    """One picture of the film, cut to a zone."""

    start: float  # seconds
    luma: Luma


def refine(moments: Sequence[Moment], pair: int, label: int, earlier: float | None, later: float | None) -> float | None:
    """Return when the first picture after a boundary is shown, in seconds; None if the pictures do not show it.

    Args:
        moments: consecutive pictures around the boundary, ascending; additional ones on either side do not matter.
        pair: the boundary lies between samples ``pair`` and ``pair + 1``.
        label: the kind of boundary: EMPTY_VALID, VALID_EMPTY or DIFFERENT.
        earlier: when the first picture after the boundary before is shown, in seconds; None if there is none within ``REACH``.
        later: up to when pictures are before the next boundary, in seconds; None if there is none within ``REACH``.
    """
    first, second = pair / FRAMES_PER_SECOND, (pair + 1) / FRAMES_PER_SECOND
    begin = first - REACH / FRAMES_PER_SECOND if earlier is None else earlier
    end = second + REACH / FRAMES_PER_SECOND if later is None else later
    around = [moment for moment in moments if begin - 1e-6 <= moment.start <= end + 1e-6]
    before = _steady(around, first, begin, _AFTER_A_FADE if earlier is None else _BETWEEN_FADES)
    after = _steady(around, second, end, _AFTER_A_FADE if later is None else _BETWEEN_FADES)
    if before and after:
        faded = _fade(around, before, after, pair, _HALF[label])
        if faded is not None:
            return faded
    return _cut(around, pair)


def _steady(around: Sequence[Moment], edge: float, limit: float, parts: tuple[float, float]) -> list[Levels]:
    """Return the pictures in a part of the way from an edge of the boundary to the limit beyond it, or the nearest to that part."""
    side = [moment for moment in around if min(edge, limit) - 1e-6 <= moment.start <= max(edge, limit) + 1e-6]
    if not side:
        return []
    reach = (side[0] if limit < edge else side[-1]).start - edge  # less than to the limit if the film begins or ends there
    near, far = sorted(edge + part * reach for part in parts)
    steady = [moment for moment in side if near <= moment.start <= far]
    steady = steady or [min(side, key=lambda moment: abs(moment.start - (near + far) / 2))]
    return [moment.luma.astype(np.float32) for moment in steady]


def _fade(around: Sequence[Moment], before: list[Levels], after: list[Levels], pair: int, half: float) -> float | None:
    """Return the middle of a fade, or the cut inside the sampled pair; None if the pixels show neither."""
    low, high = np.mean(before, axis=0), np.mean(after, axis=0)
    spread = np.std(before, axis=0) + np.std(after, axis=0)
    weight = np.maximum(0.0, np.abs(high - low) - 2 * spread - _LEAST_LEVELS)
    if not _LEAST_PIXELS <= np.count_nonzero(weight) <= _MOST_PIXELS * weight.size:
        return None
    way = _way(around, low, high, weight)
    over = _crossing(way, half)
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
    over = _crossing(_way(between, low, high, weight), 0.5)
    return None if over is None else between[over].start


def _way(moments: Sequence[Moment], low: Levels, high: Levels, weight: Levels) -> npt.NDArray[np.float64]:
    """(moments,) how far each picture is from ``low`` to ``high``, 0..1, as the weighted mean of its pixels."""
    used = weight > 0
    base, step, shares = low[used], (high - low)[used], weight[used] / weight[used].sum()
    return np.array([float((np.clip((moment.luma[used] - base) / step, -0.25, 1.25) * shares).sum()) for moment in moments])


def _crossing(way: npt.NDArray[np.float64], half: float) -> int | None:
    """Return the first picture past this share of the way, so that most before it are not and most after it are."""
    past = way > half
    if not past.any() or past.all():
        return None
    # Choose the split with the fewest pictures on the wrong side.
    wrong = np.concatenate([[0], np.cumsum(past)]) + np.concatenate([np.cumsum(~past[::-1])[::-1], [0]])
    over = int(wrong.argmin())
    return over if 0 < over < len(way) else None
