"""Captions are scored against known ones."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.accuracy import Accuracy, Extent, boundaries, match_captions, measure

FRAMES = 60


@st.composite
def captions(draw: st.DrawFn) -> list[Extent]:
    """Captions in ascending order without overlap; some touch."""
    edges = sorted(draw(st.sets(st.integers(0, FRAMES), max_size=16)))
    extents = [(first, end - 1) for first, end in pairwise(edges)]
    return [extent for extent in extents if draw(st.booleans())]


def test_what_is_predicted_exactly_scores_one() -> None:
    """Precision and recall are 1 if the prediction is the truth, and every caption counts as exact."""
    true = [(3, 9), (10, 20), (40, 59)]
    accuracy = measure(true, true, FRAMES)
    assert accuracy == Accuracy(3, 3, 3, 3, 4, 4, 4), "captions that touch share a boundary, and the video's end is none"
    assert (accuracy.caption_precision, accuracy.caption_recall, accuracy.boundary_precision, accuracy.boundary_recall) == (1, 1, 1, 1)


def test_a_missed_caption_costs_recall_and_an_invented_one_precision() -> None:
    """A missed caption lowers only recall, an invented one only precision."""
    missed = measure([(3, 9), (20, 30)], [(3, 9)], FRAMES)
    assert (missed.caption_precision, missed.caption_recall, missed.boundary_recall) == (1, 0.5, 0.5)
    invented = measure([(3, 9)], [(3, 9), (20, 30)], FRAMES)
    assert (invented.caption_precision, invented.caption_recall, invented.boundary_precision) == (0.5, 1, 0.5)


def test_a_time_may_differ_by_the_tolerance() -> None:
    """A caption counts if both ends are within the tolerance, a boundary if it is."""
    accuracy = measure([(10, 20)], [(11, 23)], FRAMES)
    assert (accuracy.captions_matched, accuracy.captions_exact, accuracy.boundaries_matched) == (0, 0, 1)
    assert measure([(10, 20)], [(11, 23)], FRAMES, tolerance=3).captions_matched == 1
    assert measure([(10, 20)], [(11, 20)], FRAMES, tolerance=0).captions_matched == 0


def test_a_short_caption_before_does_not_take_a_match_away() -> None:
    """A caption that begins near a true one but ends elsewhere leaves the next caption to match."""
    assert match_captions([(10, 20)], [(9, 9), (10, 20)]) == [((10, 20), (10, 20))]


@given(captions(), captions(), st.integers(0, 3))
def test_counts_never_exceed_what_there_is(true: list[Extent], predicted: list[Extent], tolerance: int) -> None:
    """Matches are one to one, and a higher tolerance matches no less."""
    accuracy, wider = measure(true, predicted, FRAMES, tolerance), measure(true, predicted, FRAMES, tolerance + 1)
    assert accuracy.captions_exact <= accuracy.captions_matched <= min(accuracy.captions_true, accuracy.captions_predicted)
    assert accuracy.boundaries_matched <= min(accuracy.boundaries_true, accuracy.boundaries_predicted)
    assert wider.captions_matched >= accuracy.captions_matched
    assert len(boundaries(true, FRAMES)) <= 2 * len(true)


@given(captions())
def test_every_caption_matches_itself(true: list[Extent]) -> None:
    """A true caption matches itself, whatever lies beside it."""
    assert match_captions(true, true) == [(caption, caption) for caption in true]
