"""Compares two results of one video: labels by kind, and captions that moved, were added or were lost."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.captions import CaptionExtent, CaptionTrack
from core.types import LABELS

EVEN: Final = 0.02
"""Confidences closer to each other than this count as equal: the two directions of one pair differ by more."""


@dataclass(frozen=True, slots=True)
class MatchedCaption:
    """A caption that both results have, matched by shared frames."""

    before: CaptionExtent
    after: CaptionExtent

    @property
    def start_shift(self) -> int:
        """The number of frames by which it begins later than before."""
        return self.after.first_frame - self.before.first_frame

    @property
    def end_shift(self) -> int:
        return self.after.last_frame - self.before.last_frame

    @property
    def shift(self) -> int:
        """The greater of both absolute shifts."""
        return max(abs(self.start_shift), abs(self.end_shift))

    @property
    def confidence_change(self) -> float | None:
        """Change of the boundaries' mean confidence; None if one of the captions has no boundary within the video."""
        before, after = _confidence(self.before), _confidence(self.after)
        return None if before is None or after is None else after - before


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from one result to the other.

    Attributes:
        label_changes: number of pairs by (label before, label after), only those that changed.
        matched: captions of both, in the order of the first.
        added, lost: captions of the second, or the first, that overlap none of the other's.
    """

    pairs: int
    label_changes: dict[tuple[str, str], int]
    matched: tuple[MatchedCaption, ...]
    added: tuple[CaptionExtent, ...]
    lost: tuple[CaptionExtent, ...]

    @property
    def moved(self) -> tuple[MatchedCaption, ...]:
        """Moved captions, greatest shift first."""
        return tuple(sorted((pair for pair in self.matched if pair.shift), key=lambda pair: -pair.shift))

    @property
    def captions(self) -> int:
        """The number of captions in either result."""
        return len(self.matched) + len(self.added) + len(self.lost)

    @property
    def changed(self) -> int:
        return len(self.moved) + len(self.added) + len(self.lost)

    @property
    def change(self) -> float:
        """The share of captions that were moved, added or lost; 0 if there are none."""
        return self.changed / self.captions if self.captions else 0.0

    @property
    def confidence_gained(self) -> int:
        return sum((pair.confidence_change or 0.0) > EVEN for pair in self.matched)

    @property
    def confidence_lost(self) -> int:
        return sum((pair.confidence_change or 0.0) < -EVEN for pair in self.matched)


def compare(before: CaptionTrack, after: CaptionTrack) -> Comparison:
    """Compare two results of one video.

    Raises:
        ValueError: the results have different numbers of pairs, so they are of different frames.
    """
    if len(before.labels) != len(after.labels):
        raise ValueError(f"{len(before.labels)} pairs and {len(after.labels)} pairs are not of the same frames")
    changed = before.labels != after.labels
    kinds = Counter(zip(before.labels[changed].tolist(), after.labels[changed].tolist(), strict=True))
    matched, lost, added = _match(before.captions, after.captions)
    changes = {(LABELS[old].value, LABELS[new].value): count for (old, new), count in kinds.most_common()}
    return Comparison(len(before.labels), changes, matched, added, lost)


def _match(
    before: Sequence[CaptionExtent], after: Sequence[CaptionExtent]
) -> tuple[tuple[MatchedCaption, ...], tuple[CaptionExtent, ...], tuple[CaptionExtent, ...]]:
    """Pair captions by the share of frames that they have in common, greatest first. Each caption is in at most one pair."""
    candidates: list[tuple[float, int, int]] = []
    start = 0
    for old_index, old in enumerate(before):
        while start < len(after) and after[start].last_frame < old.first_frame:
            start += 1
        for new_index in range(start, len(after)):
            new = after[new_index]
            if new.first_frame > old.last_frame:
                break
            shared = min(old.last_frame, new.last_frame) - max(old.first_frame, new.first_frame) + 1
            union = max(old.last_frame, new.last_frame) - min(old.first_frame, new.first_frame) + 1
            candidates.append((-shared / union, old_index, new_index))
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for _, old_index, new_index in sorted(candidates):
        if old_index not in partner and new_index not in taken:
            partner[old_index] = new_index
            taken.add(new_index)
    matched = tuple(MatchedCaption(before[old], after[new]) for old, new in sorted(partner.items()))
    lost = tuple(caption for index, caption in enumerate(before) if index not in partner)
    added = tuple(caption for index, caption in enumerate(after) if index not in taken)
    return matched, lost, added


def _confidence(caption: CaptionExtent) -> float | None:
    known = [value for value in (caption.start_confidence, caption.end_confidence) if value is not None]
    return sum(known) / len(known) if known else None
