"""Turns the results of a zone into its captions, with times of the film's own pictures."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from core.captions import CaptionExtent, find_captions
from core.labels import DIFFERENT, SAME
from core.types import FRAMES_PER_SECOND
from inference.finding.track import Track

_ROUNDING: Final = 1e-6  # of floating-point times, in samples
_LEAST_CONFIDENCE_BETWEEN_CUTS: Final = 0.6
_LEAST_MEAN_CONFIDENCE: Final = 0.6  # of the captions of a zone that was found, not given
_LEAST_MEAN_BETWEEN_CUTS: Final = 0.9  # the same, if none of them begins or ends while the picture goes on
_LEAST_SECONDS: Final = 0.15  # nobody can read a caption of one sample
_NEAR: Final = 0.06  # seconds between a boundary and a cut of the picture that count as the same moment


@dataclass(frozen=True, slots=True)
class FoundCaption:
    """One caption of a film.

    Attributes:
        zone: the name of its zone.
        start_seconds, end_seconds: when its first picture appears, and the first one without it.
        extent: on the grid of 10 samples a second, with the confidences.
        doubt: why it may not be a caption; None if there is no doubt.
        text: its words, if it was read.
        text_confidence: the reader's confidence, 0..1.
        between_cuts: it begins and ends only at cuts of the film; the film's own ends do not count.
    """

    zone: str
    start_seconds: float
    end_seconds: float
    extent: CaptionExtent
    doubt: str | None = None
    text: str | None = None
    text_confidence: float | None = None
    between_cuts: bool = False

    @property
    def seconds(self) -> float:
        return self.end_seconds - self.start_seconds

    @property
    def first_frame(self) -> int:
        """The first sample, of ten per second, that shows it."""
        return min(self.last_frame, math.ceil(self.start_seconds * FRAMES_PER_SECOND - _ROUNDING))

    @property
    def last_frame(self) -> int:
        """The last sample that shows it."""
        return max(0, math.ceil(self.end_seconds * FRAMES_PER_SECOND - _ROUNDING) - 1)

    def until(self, other: "FoundCaption") -> "FoundCaption":
        """Join this caption and a later one: it ends with the later one, and has the lower confidence of both."""
        extent = CaptionExtent(
            self.extent.first_frame,
            other.extent.last_frame,
            self.extent.start_confidence,
            other.extent.end_confidence,
            min(self.extent.confidence, other.extent.confidence),
        )
        return replace(
            self,
            end_seconds=other.end_seconds,
            extent=extent,
            doubt=self.doubt or other.doubt,
            between_cuts=self.between_cuts and other.between_cuts,
        )


def captions_of(track: Track) -> list[FoundCaption]:
    """Return the zone's captions, including doubtful ones, ascending."""
    if not len(track.probabilities):
        return []
    result = find_captions(_without_false_changes(track))
    every = [(caption, None) for caption in result.captions] + [(doubt.caption, doubt.reason) for doubt in result.doubts]
    captions = [_timed(track, extent, reason) for extent, reason in sorted(every, key=lambda item: item[0].first_frame)]
    return [replace(caption, doubt=caption.doubt or _doubt(caption)) for caption in captions if caption.seconds > 0]


def are_convincing(captions: Sequence[FoundCaption]) -> bool:
    """Whether a zone that was found, not given, holds captions: decided by the surer half of its captions.

    If they come and go only with cuts, all of them count, including doubtful ones.
    """
    sure = [caption for caption in captions if caption.doubt is None]
    if all(caption.between_cuts for caption in sure):
        return bool(sure) and _mean(caption.extent.confidence for caption in captions) >= _LEAST_MEAN_BETWEEN_CUTS
    confidences = sorted((caption.extent.confidence for caption in sure), reverse=True)
    return _mean(confidences[: (len(confidences) + 1) // 2]) >= _LEAST_MEAN_CONFIDENCE


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return math.fsum(known) / len(known)


def _without_false_changes(track: Track) -> npt.NDArray[np.float32]:
    """Return the probabilities, with ``different`` counted as ``same`` where the pictures show that a caption goes on."""
    pairs = sorted(track.going_on)
    probabilities = track.probabilities.copy()
    probabilities[pairs, :, SAME] += probabilities[pairs, :, DIFFERENT]
    probabilities[pairs, :, DIFFERENT] = 0
    return probabilities


def _timed(track: Track, extent: CaptionExtent, doubt: str | None) -> FoundCaption:
    begins, ends = extent.first_frame > 0, extent.last_frame < track.frame_count - 1  # within the film
    start = track.times.get(extent.first_frame - 1, extent.start_seconds) if begins else track.first
    end = track.times.get(extent.last_frame, extent.end_seconds) if ends else track.end
    boundaries = [seconds for seconds, counts in ((start, begins), (end, ends)) if counts]
    between_cuts = bool(boundaries) and all(_is_cut(seconds, track.cuts) for seconds in boundaries)
    return FoundCaption(track.zone.name, start, end, extent, doubt, between_cuts=between_cuts)


def _is_cut(seconds: float, cuts: Sequence[float]) -> bool:
    index = bisect_left(cuts, seconds - _NEAR)
    return index < len(cuts) and cuts[index] <= seconds + _NEAR


def _doubt(caption: FoundCaption) -> str | None:
    """Return why the film's pictures make a caption doubtful; None if they do not."""
    confidence = caption.extent.confidence
    if caption.between_cuts and confidence < _LEAST_CONFIDENCE_BETWEEN_CUTS:
        return f"it begins and ends only at cuts, and its confidence of {confidence:.3f} is below {_LEAST_CONFIDENCE_BETWEEN_CUTS}"
    if caption.seconds < _LEAST_SECONDS:
        return f"{caption.seconds:.2f} s is too short to read"
    return None
