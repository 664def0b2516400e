"""Makes one still for each stretch of samples that shows one text, from its sharpest pictures, for viewing or reading."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from core.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY, FloatArray
from inference.arrays import Frames

_MOST_KEPT: Final = 8  # strips per stretch, evenly spread
_SHARPEST: Final = 3  # strips whose mean is the still: enough to smooth the background, few enough to stay sharp
_LEAST_TEXT: Final = 0.3  # mean probability of ``same`` in a stretch that may be a caption


@dataclass(frozen=True, slots=True)
class Still:
    """One stretch, from ``first_frame`` to ``last_frame``, both inclusive, as one RGB picture (height, width, 3)."""

    first_frame: int
    last_frame: int
    picture: Frames


class Stills:
    """Cuts a zone's samples into stretches at every likely boundary. Holds the strips of the current stretch and later ones."""

    def __init__(self) -> None:
        self._strips: dict[int, Frames] = {}
        self._first = 0  # frame of the current stretch
        self._mean: list[FloatArray] = []
        self._done = 0  # pairs that have been processed

    def add(self, strips: Mapping[int, Frames]) -> None:
        self._strips.update(strips)

    def extend(self, mean: FloatArray) -> None:
        """Add the next pairs' mean probabilities, (pairs, 5)."""
        self._mean += list(mean)

    def take(self, until: int | None) -> Iterator[Still]:
        """Yield the stretches that end before this pair; None: all, including the last."""
        stop = len(self._mean) if until is None else max(self._done, min(until, len(self._mean)))
        for pair in range(self._done, stop):
            if self._mean[pair].argmax() in (DIFFERENT, EMPTY_VALID, VALID_EMPTY):
                yield from self._close(pair)
        self._done = stop
        self._thin_out(stop)
        if until is None:
            yield from self._close(len(self._mean))

    def _close(self, last: int) -> Iterator[Still]:
        pairs = np.array(self._mean[self._first : last]) if last > self._first else np.zeros((0, 5))
        strips = [self._strips[frame] for frame in self._strips if self._first <= frame <= last]
        is_text = not len(pairs) or (pairs[:, SAME].mean() > max(_LEAST_TEXT, pairs[:, EMPTY_EMPTY].mean()))
        if strips and is_text:
            yield Still(self._first, last, _merge(strips))
        self._first = last + 1
        self._strips = {frame: strip for frame, strip in self._strips.items() if frame > last}

    def _thin_out(self, stop: int) -> None:
        """Keep only a few strips of a long stretch: drop every second one whenever there are twice as many as wanted."""
        present = [frame for frame in self._strips if self._first <= frame < stop]
        while len(present) > 2 * _MOST_KEPT:
            for frame in present[1::2]:
                del self._strips[frame]
            present = present[::2]


def _merge(strips: list[Frames]) -> Frames:
    """Return the mean of a stretch's sharpest strips, without its first and last if there are others, since those may show a fade."""
    inner = strips[1:-1] or strips
    sharpest = sorted(inner, key=_sharpness, reverse=True)[:_SHARPEST]
    return np.asarray(np.mean(np.stack(sharpest), axis=0).round(), np.uint8)


def _sharpness(strip: Frames) -> float:
    luma: npt.NDArray[np.int16] = strip[..., 1].astype(np.int16)
    return float(np.abs(np.diff(luma, axis=1)).mean())
