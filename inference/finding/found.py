"""Turns the results of a zone into its captions, with times of the film's own pictures."""

import math
from dataclasses import dataclass, replace
from typing import Final

from core.captions import CaptionExtent, find_captions
from core.types import FRAMES_PER_SECOND
from inference.finding.track import Track

_ROUNDING: Final = 1e-6  # of floating-point times, in samples


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
    """

    zone: str
    start_seconds: float
    end_seconds: float
    extent: CaptionExtent
    doubt: str | None = None
    text: str | None = None
    text_confidence: float | None = None

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
        return replace(self, end_seconds=other.end_seconds, extent=extent, doubt=self.doubt or other.doubt)


def captions_of(track: Track) -> list[FoundCaption]:
    """Return the zone's captions, including doubtful ones, ascending."""
    if not len(track.probabilities):
        return []
    found = find_captions(track.probabilities)
    every = [(caption, None) for caption in found.captions] + [(doubt.caption, doubt.reason) for doubt in found.doubts]
    captions = [_timed(track, extent, reason) for extent, reason in sorted(every, key=lambda item: item[0].first_frame)]
    return [caption for caption in captions if caption.seconds > 0]


def _timed(track: Track, extent: CaptionExtent, doubt: str | None) -> FoundCaption:
    last_pair = track.frame_count - 1
    start = track.first if extent.first_frame == 0 else track.times.get(extent.first_frame - 1, extent.start_seconds)
    end = track.end if extent.last_frame == last_pair else track.times.get(extent.last_frame, extent.end_seconds)
    return FoundCaption(track.zone.name, start, end, extent, doubt)
