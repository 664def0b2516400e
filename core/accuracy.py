"""Scores captions against known ones: how many captions and boundaries agree within a tolerance. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Final

TOLERANCE_FRAMES: Final = 1
"""Tolerance in frames: a time between two frames belongs to either of them."""

Extent = tuple[int, int]
"""First and last frame of a caption, both inclusive."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Counts over one or several videos.

    Attributes:
        captions_true, captions_predicted: how many there are, and how many were predicted.
        captions_matched: predicted captions of which both ends lie within the tolerance of a true one's.
        captions_exact: predicted captions with exactly the true frames.
        boundaries_true, boundaries_predicted, boundaries_matched: likewise; two captions that touch share one boundary.
    """

    captions_true: int = 0
    captions_predicted: int = 0
    captions_matched: int = 0
    captions_exact: int = 0
    boundaries_true: int = 0
    boundaries_predicted: int = 0
    boundaries_matched: int = 0

    def __add__(self, other: "Accuracy") -> "Accuracy":
        return Accuracy(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def caption_precision(self) -> float:
        return share(self.captions_matched, self.captions_predicted)

    @property
    def caption_recall(self) -> float:
        return share(self.captions_matched, self.captions_true)

    @property
    def boundary_precision(self) -> float:
        return share(self.boundaries_matched, self.boundaries_predicted)

    @property
    def boundary_recall(self) -> float:
        return share(self.boundaries_matched, self.boundaries_true)


def measure(true: Sequence[Extent], predicted: Sequence[Extent], frame_count: int, tolerance: int = TOLERANCE_FRAMES) -> Accuracy:
    """Score the captions of one video. Both sequences ascend without overlap."""
    true_boundaries, predicted_boundaries = boundaries(true, frame_count), boundaries(predicted, frame_count)
    return Accuracy(
        captions_true=len(true),
        captions_predicted=len(predicted),
        captions_matched=len(match_captions(true, predicted, tolerance)),
        captions_exact=len(set(true) & set(predicted)),
        boundaries_true=len(true_boundaries),
        boundaries_predicted=len(predicted_boundaries),
        boundaries_matched=count_matching_boundaries(true_boundaries, predicted_boundaries, tolerance),
    )


def boundaries(captions: Iterable[Extent], frame_count: int) -> set[int]:
    """Return the first frame after each boundary. Where the video itself begins or ends, there is none."""
    last = frame_count - 1
    return {frame for first, end in captions for frame in (first, end + 1) if 0 < frame <= last}


def match_captions(true: Sequence[Extent], predicted: Sequence[Extent], tolerance: int = TOLERANCE_FRAMES) -> list[tuple[Extent, Extent]]:
    """Match true and predicted captions whose ends agree within the tolerance. Each caption is in one pair at most."""
    matched: list[tuple[Extent, Extent]] = []
    begin = 0  # the captions before it are matched, or begin too early for the rest
    for caption in true:
        for index in range(begin, len(predicted)):
            other = predicted[index]
            if other[0] > caption[0] + tolerance:
                break
            if all(abs(a - b) <= tolerance for a, b in zip(caption, other, strict=True)):
                matched.append((caption, other))
                begin = index + 1
                break
        while begin < len(predicted) and predicted[begin][0] < caption[0] - tolerance:
            begin += 1
    return matched


def count_matching_boundaries(true: Iterable[int], predicted: Iterable[int], tolerance: int = TOLERANCE_FRAMES) -> int:
    """Count the boundaries that match one to one within the tolerance, in order."""
    count, left = 0, sorted(predicted)
    for boundary in sorted(true):
        near = next((other for other in left if abs(other - boundary) <= tolerance), None)
        if near is not None:
            left.remove(near)
            count += 1
    return count


def share(part: int, whole: int) -> float:
    """Return a share, 0..1; 0 if there is nothing."""
    return part / max(1, whole)
