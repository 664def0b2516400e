"""Turns probabilities of frame pairs into captions: the likeliest consistent labels, and where captions begin and end."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from core.types import FRAMES_PER_SECOND, LABELS, Label

SAME, DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, VALID_EMPTY = range(len(LABELS))

REVERSED: Final = [SAME, DIFFERENT, EMPTY_EMPTY, VALID_EMPTY, EMPTY_VALID]
"""Index of each label's probability when the pair is shown in reverse order."""

PROBABILITY_FLOOR: Final = 1e-12
"""Lower bound for probabilities, since the logarithm of zero would rule out a sequence. Far below any meaningful float32 softmax."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CaptionExtent:
    """One caption, from ``first_frame`` to ``last_frame``, both inclusive.

    A confidence is the mean probability of the label at that boundary; None if the video itself begins or ends there.
    """

    first_frame: int
    last_frame: int
    start_confidence: float | None
    end_confidence: float | None

    @property
    def start_seconds(self) -> float:
        return self.first_frame / FRAMES_PER_SECOND

    @property
    def end_seconds(self) -> float:
        return (self.last_frame + 1) / FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True)
class QualityIssue:
    """Something that a person may want to check. ``frame_index`` is the pair's first frame, or the caption's only frame."""

    kind: str
    frame_index: int
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class CaptionTrack:
    """The captions of one video, derived from its probabilities.

    Attributes:
        probabilities: (pairs, 5) float64, the mean of both directions.
        labels: (pairs,) indices into ``core.types.LABELS``, the likeliest consistent sequence.
        captions: ascending, without overlap.
        issues: ascending by frame.
    """

    probabilities: FloatArray
    labels: npt.NDArray[np.int64]
    captions: tuple[CaptionExtent, ...]
    issues: tuple[QualityIssue, ...]

    @property
    def label_counts(self) -> dict[Label, int]:
        counts = np.bincount(self.labels, minlength=len(LABELS)).tolist()
        return dict(zip(LABELS, counts, strict=True))


def find_captions(probabilities: npt.NDArray[np.float32]) -> CaptionTrack:
    """Find the captions in the probabilities of consecutive pairs, (pairs, 2, 5), forward before backward."""
    mean = mean_probabilities(probabilities)
    labels = consistent_labels(mean)
    captions = _extents(mean, labels)
    return CaptionTrack(mean, labels, captions, _issues(probabilities, mean, labels, captions))


def mean_probabilities(probabilities: npt.NDArray[np.float32]) -> FloatArray:
    """The mean of forward and reordered backward probabilities: (pairs, 2, 5) to (pairs, 5)."""
    exact = probabilities.astype(np.float64)
    return np.asarray((exact[:, 0] + exact[:, 1, REVERSED]) / 2)


def consistent_labels(mean: FloatArray) -> npt.NDArray[np.int64]:
    """The label sequence with the greatest product of probabilities among all consistent sequences.

    Viterbi over two states per frame: ``same`` and ``different`` lead from valid to valid, ``empty_empty`` from empty to empty,
    the other two as named. Ties prefer ``same`` over ``different``, and coming from empty over coming from valid.

    Args:
        mean: (pairs, 5).

    Returns:
        (pairs,) indices into ``core.types.LABELS``.
    """
    log = np.log(np.maximum(mean, PROBABILITY_FLOOR))
    staying = np.where(log[:, DIFFERENT] > log[:, SAME], DIFFERENT, SAME)
    steps = np.column_stack((log[:, [EMPTY_EMPTY, VALID_EMPTY, EMPTY_VALID]], log[:, [SAME, DIFFERENT]].max(axis=1)))
    empty = valid = 0.0  # log-probability of the best sequence that ends in this state
    came_from_valid: list[tuple[bool, bool]] = []  # per pair: for ending empty, for ending valid
    for empty_empty, valid_empty, empty_valid, valid_valid in steps.tolist():
        to_empty, to_empty_from_valid = empty + empty_empty, valid + valid_empty
        to_valid, to_valid_from_valid = empty + empty_valid, valid + valid_valid
        came_from_valid.append((to_empty_from_valid > to_empty, to_valid_from_valid > to_valid))
        empty, valid = max(to_empty, to_empty_from_valid), max(to_valid, to_valid_from_valid)

    labels = np.empty(len(mean), dtype=np.int64)
    is_valid = valid > empty
    for pair in range(len(mean) - 1, -1, -1):
        was_valid = came_from_valid[pair][is_valid]
        if was_valid:
            labels[pair] = staying[pair] if is_valid else VALID_EMPTY
        else:
            labels[pair] = EMPTY_VALID if is_valid else EMPTY_EMPTY
        is_valid = was_valid
    return labels


def _extents(mean: FloatArray, labels: npt.NDArray[np.int64]) -> tuple[CaptionExtent, ...]:
    captions: list[CaptionExtent] = []
    first: int | None = 0 if labels[0] in (SAME, DIFFERENT, VALID_EMPTY) else None
    start_confidence: float | None = None
    boundaries = np.flatnonzero(np.isin(labels, (DIFFERENT, EMPTY_VALID, VALID_EMPTY)))
    for pair in boundaries.tolist():
        confidence = float(mean[pair, labels[pair]])
        if first is not None:
            captions.append(CaptionExtent(first, pair, start_confidence, confidence))
        first, start_confidence = (None, None) if labels[pair] == VALID_EMPTY else (pair + 1, confidence)
    if first is not None:
        captions.append(CaptionExtent(first, len(labels), start_confidence, None))
    return tuple(captions)


def _issues(
    probabilities: npt.NDArray[np.float32], mean: FloatArray, labels: npt.NDArray[np.int64], captions: tuple[CaptionExtent, ...]
) -> tuple[QualityIssue, ...]:
    forward, backward = probabilities[:, 0], probabilities[:, 1][:, REVERSED]
    likeliest = mean.argmax(axis=1)
    likeliest_forward, likeliest_backward = forward.argmax(axis=1), backward.argmax(axis=1)

    def describe(scores: npt.NDArray[np.floating], label: int) -> str:
        return f"{LABELS[label]} {scores[label]:.3f}"

    issues = [
        QualityIssue(
            "direction_conflict",
            pair,
            f"forward {describe(forward[pair], likeliest_forward[pair])}, "
            f"backward, read forward, {describe(backward[pair], likeliest_backward[pair])}",
        )
        for pair in np.flatnonzero(likeliest_forward != likeliest_backward).tolist()
    ]
    issues += [
        QualityIssue("incoherent", pair, f"likeliest {describe(mean[pair], likeliest[pair])}, used {describe(mean[pair], labels[pair])}")
        for pair in np.flatnonzero(likeliest != labels).tolist()
    ]
    issues += [
        QualityIssue("single_frame", caption.first_frame, "a caption of one frame")
        for caption in captions
        if caption.first_frame == caption.last_frame
    ]
    return tuple(sorted(issues, key=lambda issue: issue.frame_index))  # stable: kinds keep this order within a frame
