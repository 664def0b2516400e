"""Two results of one video are compared by their labels and captions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captions import CaptionExtent, CaptionTrack
from core.comparison import compare


def track(*extents: tuple[int, int], pairs: int = 100, confidence: float = 0.9) -> CaptionTrack:
    labels = np.full(pairs, 2)
    for first, last in extents:
        labels[first:last] = 0
    captions = tuple(CaptionExtent(first, last, confidence, confidence) for first, last in extents)
    return CaptionTrack(np.zeros((pairs, 5)), labels, captions, (), ())


def test_the_same_result_has_not_changed() -> None:
    """Comparing equal results gives no change, and no changed label."""
    comparison = compare(track((10, 20), (30, 40)), track((10, 20), (30, 40)))
    assert (comparison.change, comparison.label_changes, comparison.captions) == (0.0, {}, 2)


def test_captions_are_matched_by_the_frames_they_share() -> None:
    """A caption is matched with the one that shares its frames; moved, lost and added captions all count as changes."""
    comparison = compare(track((10, 20), (30, 40), (50, 60)), track((10, 22), (50, 60), (70, 80)))
    assert [(pair.start_shift, pair.end_shift) for pair in comparison.moved] == [(0, 2)]
    assert ([caption.first_frame for caption in comparison.lost], [caption.first_frame for caption in comparison.added]) == ([30], [70])
    assert comparison.change == 3 / 4


def test_of_two_halves_the_greater_is_the_caption() -> None:
    """A caption that was split is matched with its longer part; the other part counts as added."""
    comparison = compare(track((10, 40)), track((10, 15), (16, 40)))
    assert [pair.after.first_frame for pair in comparison.matched] == [16]
    assert [caption.first_frame for caption in comparison.added] == [10]


def test_labels_are_counted_by_kind() -> None:
    """Changed pairs are counted by their label before and after."""
    comparison = compare(track((10, 20)), track((10, 25)))
    assert comparison.label_changes == {("empty_empty", "same"): 5}


def test_confidence_counts_where_both_have_a_caption() -> None:
    """A matched caption counts as gaining or losing confidence if the change is more than noise."""
    comparison = compare(track((10, 20), (30, 40)), track((10, 20), (30, 40), confidence=0.8))
    assert (comparison.confidence_gained, comparison.confidence_lost) == (0, 2)


def test_results_of_other_frames_are_not_compared() -> None:
    """Results with different numbers of pairs are not compared, and the error gives both numbers."""
    with pytest.raises(ValueError, match="100 pairs and 90 pairs"):
        compare(track(), track(pairs=90))


EXTENTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8)


@given(EXTENTS, EXTENTS)
def test_each_caption_counts_once(before: list[tuple[int, int]], after: list[tuple[int, int]]) -> None:
    """Every caption counts exactly once as matched, lost or added, and swapping the results leaves the number of matches the same."""

    def laid_out(steps: list[tuple[int, int]]) -> CaptionTrack:
        extents, at = [], 0
        for gap, length in steps:
            extents.append((at + gap, at + gap + length))
            at += gap + length + 1
        return track(*extents)

    first, second = laid_out(before), laid_out(after)
    comparison, swapped = compare(first, second), compare(second, first)
    assert len(comparison.matched) + len(comparison.lost) == len(before)
    assert len(comparison.matched) + len(comparison.added) == len(after)
    assert len(comparison.matched) == len(swapped.matched)
