"""Turns the probabilities of frame pairs into captions: where they begin and end, and which of them are doubtful."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from core.labels import (
    DIFFERENT,
    EMPTY_VALID,
    REVERSED,
    SAME,
    VALID_EMPTY,
    FloatArray,
    LabelArray,
    consistent_labels,
    mean_probabilities,
)
from core.types import FRAMES_PER_SECOND, LABELS, Label

LEAST_CONFIDENCE: Final = 0.32
"""Candidates below this confidence are doubtful. It was chosen on ten real clips and on synthetic ones; decision 0024 has the figures."""

LEAST_OF_USUAL: Final = 0.5
"""A candidate that adjoins a surer caption is also doubtful if its confidence is below this share of the video's usual confidence.
The surer caption's end is a change in any case, so lights or grass that remain visible look like another caption."""

STANDING_SECONDS: Final = 20.0
"""In a longer video, something visible from the first frame to the last is not a caption but a logo or a border."""


@dataclass(frozen=True, slots=True)
class CaptionExtent:
    """One caption, from ``first_frame`` to ``last_frame``, both inclusive.

    Attributes:
        start_confidence, end_confidence: the mean probability of the label at that boundary; None where the video itself
            begins or ends.
        confidence: 0..1, how reliable the caption is, judged by its boundaries and the pairs between them.
    """

    first_frame: int
    last_frame: int
    start_confidence: float | None
    end_confidence: float | None
    confidence: float = 1.0

    @property
    def start_seconds(self) -> float:
        return self.first_frame / FRAMES_PER_SECOND

    @property
    def end_seconds(self) -> float:
        return (self.last_frame + 1) / FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True)
class QualityIssue:
    """Something that a user may want to check. ``frame_index`` is the first frame of the pair or the caption."""

    kind: str
    frame_index: int
    detail: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """A range whose labels make it a caption, and the reason why it is left out of the captions."""

    caption: CaptionExtent
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class CaptionTrack:
    """The result for the probabilities of one video.

    Attributes:
        probabilities: (pairs, 5) float64, the mean of both directions.
        labels: (pairs,) indices into ``core.types.LABELS``, the likeliest consistent sequence; includes doubtful captions.
        captions: ascending, without overlap.
        doubts: the doubtful captions, which are not in ``captions``; also ascending, without overlap.
        issues: ascending by frame.
    """

    probabilities: FloatArray
    labels: LabelArray
    captions: tuple[CaptionExtent, ...]
    doubts: tuple[Doubt, ...]
    issues: tuple[QualityIssue, ...]

    @property
    def label_counts(self) -> dict[Label, int]:
        counts = np.bincount(self.labels, minlength=len(LABELS)).tolist()
        return dict(zip(LABELS, counts, strict=True))


def find_captions(probabilities: npt.NDArray[np.float32]) -> CaptionTrack:
    """Read captions off the probabilities of consecutive pairs, (pairs, 2, 5), forward before backward."""
    mean = mean_probabilities(probabilities)
    labels = consistent_labels(mean)
    extents = _extents(mean, labels)
    usual = _usual_confidence(extents)
    adjoining = _adjoining(extents)
    candidates = [
        (caption, _doubt(caption, len(mean) + 1, usual if beside else 0.0)) for caption, beside in zip(extents, adjoining, strict=True)
    ]
    captions = tuple(caption for caption, reason in candidates if reason is None)
    doubts = tuple(Doubt(caption, reason) for caption, reason in candidates if reason is not None)
    return CaptionTrack(mean, labels, captions, doubts, _issues(probabilities, mean, labels, captions, doubts))


def _usual_confidence(extents: Sequence[CaptionExtent]) -> float:
    """Return the (lower) median confidence of the candidates that are reliable by themselves; 0 if there are none."""
    reliable = [caption.confidence for caption in extents if caption.confidence >= LEAST_CONFIDENCE]
    return statistics.median_low(reliable) if reliable else 0.0


def _adjoining(extents: Sequence[CaptionExtent]) -> list[bool]:
    """Return for each candidate whether it begins where a surer one ends, or ends where one begins."""
    weaker = [False] * len(extents)
    for index, (before, after) in enumerate(pairwise(extents)):
        if before.last_frame + 1 == after.first_frame and before.confidence != after.confidence:
            weaker[index + (after.confidence < before.confidence)] = True
    return weaker


def _doubt(caption: CaptionExtent, frame_count: int, usual: float) -> str | None:
    """Return why a candidate is not a reliable caption; None if it is.

    Args:
        usual: the usual confidence in the video; 0 if the candidate need not be compared with it.
    """
    if caption.confidence < LEAST_CONFIDENCE:
        return f"confidence {caption.confidence:.3f}; a caption has at least {LEAST_CONFIDENCE}"
    if caption.confidence < LEAST_OF_USUAL * usual:
        return f"confidence {caption.confidence:.3f} beside a surer caption; usual in this video is {usual:.3f}"
    whole = caption.first_frame == 0 and caption.last_frame == frame_count - 1
    if whole and frame_count / FRAMES_PER_SECOND > STANDING_SECONDS:
        return "it lasts from the first frame to the last, as logos do"
    return None


def extent_confidence(mean: FloatArray, first: int, last: int) -> float:
    """Return a caption's confidence: the probability of its weaker boundary, times the square of the mean ``same`` within it.

    It does not matter whether another caption adjoins: at the end, for example, ``different`` and ``valid_empty`` count the
    same. The film's own beginning and end are certain. The mean is squared because it drops first when grass is mistaken
    for letters.

    Correctly rounded sums and plain products give the same bits with every NumPy and C library, and run databases depend
    on that.
    """
    start = float(mean[first - 1, DIFFERENT] + mean[first - 1, EMPTY_VALID]) if first > 0 else 1.0
    end = float(mean[last, DIFFERENT] + mean[last, VALID_EMPTY]) if last < len(mean) else 1.0
    inside = math.fsum(mean[first:last, SAME].tolist()) / (last - first) if last > first else 1.0
    return min(1.0, min(start, end) * inside * inside)


def _extents(mean: FloatArray, labels: LabelArray) -> tuple[CaptionExtent, ...]:
    captions: list[CaptionExtent] = []
    first: int | None = 0 if labels[0] in (SAME, DIFFERENT, VALID_EMPTY) else None
    start_confidence: float | None = None
    boundaries = np.flatnonzero(np.isin(labels, (DIFFERENT, EMPTY_VALID, VALID_EMPTY)))
    for pair in boundaries.tolist():
        confidence = float(mean[pair, labels[pair]])
        if first is not None:
            captions.append(CaptionExtent(first, pair, start_confidence, confidence, extent_confidence(mean, first, pair)))
        first, start_confidence = (None, None) if labels[pair] == VALID_EMPTY else (pair + 1, confidence)
    if first is not None:
        captions.append(CaptionExtent(first, len(labels), start_confidence, None, extent_confidence(mean, first, len(labels))))
    return tuple(captions)


def _issues(
    probabilities: npt.NDArray[np.float32],
    mean: FloatArray,
    labels: LabelArray,
    captions: tuple[CaptionExtent, ...],
    doubts: tuple[Doubt, ...],
) -> tuple[QualityIssue, ...]:
    forward, backward = probabilities[:, 0], probabilities[:, 1][:, REVERSED]
    likeliest = mean.argmax(axis=1)
    likeliest_forward, likeliest_backward = forward.argmax(axis=1), backward.argmax(axis=1)

    def label_and_score(scores: npt.NDArray[np.floating], label: int) -> str:
        return f"{LABELS[label]} {scores[label]:.3f}"

    issues = [
        QualityIssue(
            "direction_conflict",
            pair,
            f"forward {label_and_score(forward[pair], likeliest_forward[pair])}, "
            f"backward, read forward, {label_and_score(backward[pair], likeliest_backward[pair])}",
        )
        for pair in np.flatnonzero(likeliest_forward != likeliest_backward).tolist()
    ]
    issues += [
        QualityIssue(
            "incoherent",
            pair,
            f"likeliest {label_and_score(mean[pair], likeliest[pair])}, used {label_and_score(mean[pair], labels[pair])}",
        )
        for pair in np.flatnonzero(likeliest != labels).tolist()
    ]
    issues += [
        QualityIssue("single_frame", caption.first_frame, "a caption of one frame")
        for caption in captions
        if caption.first_frame == caption.last_frame
    ]
    issues += [
        QualityIssue(
            "doubtful",
            doubt.caption.first_frame,
            f"frames {doubt.caption.first_frame} to {doubt.caption.last_frame} are left out of the captions: {doubt.reason}",
        )
        for doubt in doubts
    ]
    return tuple(sorted(issues, key=lambda issue: issue.frame_index))  # stable: kinds keep this order within a frame
