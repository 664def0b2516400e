"""Follows the captions of a film's zones in one pass: the network's probabilities, and each boundary's own time."""

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from core.labels import DIFFERENT, EMPTY_VALID, VALID_EMPTY, mean_probabilities
from core.types import FRAMES_PER_SECOND
from inference.arrays import Frames
from inference.engine.predictor import Predictor
from inference.finding.boundaries import REACH, Moment, refine
from inference.finding.continuity import REACH_SECONDS, goes_on
from inference.finding.pairs import Pairs
from inference.finding.stills import Still, Stills
from inference.finding.walk import Cuttings, walk
from inference.finding.zone import Zone
from inference.media.film import Film

_BOUNDARY: Final = 0.2  # the lowest probability of a change for which a pair's own time is looked for
_CHANGE: Final = 0.2  # the lowest probability of another text for which the pictures are asked whether it is the same
_BLENDED_SECONDS: Final = 0.02  # on either side of a boundary, a picture may show both texts
_SURE_BOUNDARY: Final = 0.5  # from which on another boundary's pictures do not reach across it

_BOUNDARIES: Final = np.array([DIFFERENT, EMPTY_VALID, VALID_EMPTY])
_ENDS: Final = {EMPTY_VALID, VALID_EMPTY}

OnStill = Callable[[Zone, Still], None]


@dataclass(slots=True)
class Track:
    """The result for one zone.

    Attributes:
        probabilities: (pairs, 2, 5).
        times: by pair, when the first picture after the boundary is shown, in seconds; only if it was found.
        going_on: pairs of which the pictures show that one caption goes on across them.
        cuts: when pictures begin at which nearly everything in the film changes, in seconds, ascending.
        first, end: when the film's first picture begins and its last one ends, in seconds.
    """

    zone: Zone
    probabilities: npt.NDArray[np.float32]
    times: dict[int, float]
    first: float
    end: float
    going_on: frozenset[int] = frozenset()
    cuts: Sequence[float] = ()

    @property
    def frame_count(self) -> int:
        return len(self.probabilities) + 1


def follow(
    film: Film,
    zones: list[Zone],
    predictor: Predictor,
    on_progress: Callable[[int], None] = lambda samples: None,
    on_still: OnStill | None = None,
) -> list[Track]:
    """Read the film once and predict every pair of each zone's strips. Memory grows only by some hundred bytes per pair
    and zone, a few MB an hour.

    Args:
        on_progress: called with the number of samples so far.
        on_still: called with a still of each stretch in which the pairs show one text, soon after it has ended.

    Raises:
        CorruptInputError: as ``Film.frames``.
    """
    if not zones:
        return []
    followers = [_Follower(zone, predictor, on_still) for zone in zones]
    samples, first, end = 0, 0.0, 0.0
    cuts: list[float] = []
    with closing(walk(film, zones, predictor.strip_size, stills=on_still is not None)) as batches:  # ends its thread before the film closes
        for batch in batches:
            if samples == 0 and batch.zones[0].moments:
                first = batch.zones[0].moments[0].start
            for follower, cuttings in zip(followers, batch.zones, strict=True):
                follower.add(cuttings)
            cuts += batch.cuts
            samples, end = batch.first_sample + batch.samples, batch.end
            on_progress(samples)
    return [follower.finish(first, end, cuts) for follower in followers]


class _Follower:
    """One zone's progress. Holds the pictures of the last few seconds, for boundaries that are not settled yet."""

    def __init__(self, zone: Zone, predictor: Predictor, on_still: OnStill | None) -> None:
        self._zone = zone
        self._pairs = Pairs(predictor)
        self._on_still = on_still
        self._stills = Stills() if on_still is not None else None
        self._probabilities: list[npt.NDArray[np.float32]] = []
        self._changes: list[float] = []  # by pair, the probability that a caption begins or ends there
        self._others: list[float] = []  # by pair, the probability that another caption follows
        self._labels: list[int] = []  # by pair, the likeliest kind of boundary
        self._moments: list[Moment] = []
        self._settled = 0  # pairs whose boundaries have been processed
        self._times: dict[int, float] = {}
        self._going_on: set[int] = set()

    def add(self, cuttings: Cuttings) -> None:
        self._moments += cuttings.moments
        if self._stills is not None:
            self._stills.add(cuttings.stills)
        if not cuttings.strips:
            return
        self._predict(cuttings.strips)
        self._settle(len(self._changes) - REACH - 1)

    def _predict(self, strips: Sequence[Frames]) -> None:
        probabilities = self._pairs.add(strips)
        if not len(probabilities):  # a single sample
            return
        mean = mean_probabilities(probabilities)
        self._probabilities.append(probabilities)
        self._changes += mean[:, _BOUNDARIES].sum(axis=1).tolist()
        self._others += mean[:, DIFFERENT].tolist()
        self._labels += _BOUNDARIES[mean[:, _BOUNDARIES].argmax(axis=1)].tolist()
        if self._stills is not None:
            self._stills.extend(mean)

    def _settle(self, until: int) -> None:
        """Find the times of the boundaries before this pair, and drop pictures that no later boundary needs."""
        for pair in range(self._settled, max(self._settled, until)):
            if self._changes[pair] >= _BOUNDARY:
                earlier, later = self._neighbours(pair)
                begin = None if earlier is None else self._times.get(earlier, (earlier + 1) / FRAMES_PER_SECOND)
                end = None if later is None else later / FRAMES_PER_SECOND
                time = refine(self._moments, pair, self._labels[pair], begin, end)
                if time is not None:
                    self._times[pair] = time
                if self._others[pair] >= _CHANGE and self._goes_on(pair, earlier, later):
                    self._going_on.add(pair)
        self._settled = max(self._settled, until)
        oldest = (self._settled - REACH - 1) / FRAMES_PER_SECOND
        kept = next((index for index, moment in enumerate(self._moments) if moment.start >= oldest), len(self._moments))
        del self._moments[: max(0, kept - 1)]
        self._give_stills(until)

    def _neighbours(self, pair: int) -> tuple[int | None, int | None]:
        """Return the nearest sure boundaries on either side, within reach, that do not belong to this one.

        Pairs next to each other belong together, except the end of a caption and the start of the next one.
        """
        reach = range(max(0, pair - REACH), min(len(self._changes), pair + REACH + 1))
        sure = [p for p in reach if self._changes[p] >= _SURE_BOUNDARY]
        first = last = pair
        while first - 1 in sure and {self._labels[first - 1], self._labels[first]} != _ENDS:
            first -= 1
        while last + 1 in sure and {self._labels[last + 1], self._labels[last]} != _ENDS:
            last += 1
        return max((p for p in sure if p < first), default=None), min((p for p in sure if p > last), default=None)

    def _goes_on(self, pair: int, earlier: int | None, later: int | None) -> bool:
        time = self._times.get(pair, (pair + 1) / FRAMES_PER_SECOND)
        first = max(time - REACH_SECONDS, -1.0 if earlier is None else (earlier + 1) / FRAMES_PER_SECOND)
        last = min(time + REACH_SECONDS, math.inf if later is None else later / FRAMES_PER_SECOND)
        before = [moment for moment in self._moments if first <= moment.start < time - _BLENDED_SECONDS]
        after = [moment for moment in self._moments if time + _BLENDED_SECONDS <= moment.start <= last]
        return goes_on(before, after, self._others[pair])

    def _give_stills(self, until: int | None) -> None:
        if self._stills is not None and self._on_still is not None:
            for still in self._stills.take(until):
                self._on_still(self._zone, still)

    def finish(self, first: float, end: float, cuts: Sequence[float]) -> Track:
        self._settle(len(self._changes))
        self._give_stills(None)
        probabilities = np.concatenate(self._probabilities) if self._probabilities else np.empty((0, 2, 5), np.float32)
        return Track(self._zone, probabilities, self._times, first, end, frozenset(self._going_on), cuts)
