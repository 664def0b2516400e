"""From probabilities to captions: consistent, likeliest, and marked where they are doubtful."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from core.captions import PROBABILITY_FLOOR, CaptionExtent, consistent_labels, find_captions, mean_probabilities
from core.types import LABELS, Label

BEFORE = {Label.SAME: True, Label.DIFFERENT: True, Label.EMPTY_EMPTY: False, Label.EMPTY_VALID: False, Label.VALID_EMPTY: True}
AFTER = {Label.SAME: True, Label.DIFFERENT: True, Label.EMPTY_EMPTY: False, Label.EMPTY_VALID: True, Label.VALID_EMPTY: False}


def probabilities(pairs: st.SearchStrategy[int]):
    scores = st.floats(0, 1, width=32)
    return pairs.flatmap(lambda count: npst.arrays(np.float32, (count, 2, 5), elements=scores))


def certain(*labels: Label, p: float = 0.9) -> np.ndarray:
    """Probabilities of a video in which each pair is surely what it is called, in both directions."""
    scores = np.full((len(labels), 2, 5), (1 - p) / 4, dtype=np.float32)
    reverse = {Label.EMPTY_VALID: Label.VALID_EMPTY, Label.VALID_EMPTY: Label.EMPTY_VALID}
    for pair, label in enumerate(labels):
        scores[pair, 0, LABELS.index(label)] = p
        scores[pair, 1, LABELS.index(reverse.get(label, label))] = p
    return scores


def is_consistent(labels: tuple[Label, ...]) -> bool:
    return all(AFTER[first] == BEFORE[second] for first, second in pairwise(labels))


@settings(deadline=None)
@given(probabilities(st.integers(1, 60)))
def test_labels_follow_from_one_another(scores):
    """Whatever the probabilities, each pair's label begins in the state in which the one before it ends."""
    assert is_consistent(tuple(LABELS[label] for label in find_captions(scores).labels))


@settings(deadline=None)
@given(probabilities(st.integers(1, 5)))
def test_labels_are_the_likeliest_consistent_sequence(scores):
    """No consistent sequence, of all that there are, has a greater product of probabilities."""
    log = np.log(np.maximum(mean_probabilities(scores), PROBABILITY_FLOOR))

    def score(labels: tuple[Label, ...]) -> float:
        return sum(float(log[pair, LABELS.index(label)]) for pair, label in enumerate(labels))

    best = max(score(labels) for labels in product(LABELS, repeat=len(scores)) if is_consistent(labels))
    used = tuple(LABELS[label] for label in find_captions(scores).labels)
    assert score(used) == pytest.approx(best, abs=1e-9)


@settings(deadline=None)
@given(probabilities(st.integers(1, 60)))
def test_captions_ascend_without_overlap_and_cover_every_valid_frame(scores):
    """Captions ascend, share no frame, and hold exactly the frames in which the labels say there is text."""
    track = find_captions(scores)
    used = [LABELS[label] for label in track.labels]
    valid = {frame for frame, label in enumerate(used) if BEFORE[label]} | {frame + 1 for frame, label in enumerate(used) if AFTER[label]}
    covered = [frame for caption in track.captions for frame in range(caption.first_frame, caption.last_frame + 1)]
    assert covered == sorted(valid)


@settings(deadline=None)
@given(probabilities(st.integers(1, 60)))
def test_boundaries_carry_the_probability_of_their_label(scores):
    """A confidence is the mean probability of the label at the boundary, and missing only where the video begins or ends."""
    track = find_captions(scores)
    for caption in track.captions:
        before, after = caption.first_frame - 1, caption.last_frame
        assert (caption.start_confidence is None) == (before < 0)
        assert (caption.end_confidence is None) == (after == len(track.labels))
        if before >= 0:
            assert caption.start_confidence == track.probabilities[before, track.labels[before]]
        if after < len(track.labels):
            assert caption.end_confidence == track.probabilities[after, track.labels[after]]


@settings(deadline=None)
@given(probabilities(st.integers(1, 40)))
def test_reversing_the_film_reverses_the_labels_evidence(scores):
    """Playing the film backward, with its two directions exchanged, gives the same mean evidence read backward."""
    backward = mean_probabilities(np.ascontiguousarray(scores[::-1, ::-1]))
    swapped = [0, 1, 2, 4, 3]
    assert np.array_equal(backward[::-1][:, swapped], mean_probabilities(scores))


def test_a_worked_example():
    """Two captions, one replacing the other, and one that stands at the end are found with their times."""
    E, V, S, D, N = Label.EMPTY_EMPTY, Label.EMPTY_VALID, Label.SAME, Label.DIFFERENT, Label.VALID_EMPTY
    track = find_captions(certain(E, V, S, D, S, S, N, E, V, S))
    assert [(c.first_frame, c.last_frame) for c in track.captions] == [(2, 3), (4, 6), (9, 10)]
    assert (track.captions[0].start_seconds, track.captions[0].end_seconds) == (0.2, 0.4)
    assert track.captions[-1].end_confidence is None
    assert track.captions[0].start_confidence == pytest.approx(0.9)
    assert track.issues == ()
    assert track.label_counts == {S: 4, D: 1, E: 2, V: 2, N: 1}


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (Label.SAME, [(0, 1)]),
        (Label.DIFFERENT, [(0, 0), (1, 1)]),
        (Label.EMPTY_EMPTY, []),
        (Label.EMPTY_VALID, [(1, 1)]),
        (Label.VALID_EMPTY, [(0, 0)]),
    ],
)
def test_two_frames(label, expected):
    """A film of one pair has the captions that its one label says."""
    assert [(c.first_frame, c.last_frame) for c in find_captions(certain(label)).captions] == expected


def test_an_incoherent_label_is_overruled_and_reported():
    """A single pair that contradicts its neighbours is read as they demand, and named."""
    scores = certain(Label.SAME, Label.SAME, Label.SAME)
    scores[1, :] = [0.3, 0.0, 0.7, 0.0, 0.0]  # empty_empty between two same
    track = find_captions(scores)
    assert track.captions == (CaptionExtent(0, 3, None, None),)
    assert [(issue.kind, issue.frame_index, issue.detail) for issue in track.issues] == [
        ("incoherent", 1, "likeliest empty_empty 0.700, used same 0.300")
    ]


def test_directions_that_disagree_are_reported():
    """Forward and backward are compared after the backward labels are read forward."""
    scores = certain(Label.EMPTY_VALID, Label.SAME)
    assert find_captions(scores).issues == ()
    scores[1, 1] = [0.1, 0.8, 0.1, 0.0, 0.0]
    assert [(issue.kind, issue.frame_index) for issue in find_captions(scores).issues] == [("direction_conflict", 1)]


def test_a_caption_of_one_frame_is_reported():
    """A caption that stands for a tenth of a second is named by its frame."""
    track = find_captions(certain(Label.EMPTY_EMPTY, Label.EMPTY_VALID, Label.VALID_EMPTY, Label.EMPTY_EMPTY))
    assert [(issue.kind, issue.frame_index) for issue in track.issues] == [("single_frame", 2)]


def test_zero_probabilities_do_not_forbid_a_sequence():
    """Where every consistent sequence has a probability of zero, the least unlikely is taken instead of an error."""
    scores = np.zeros((2, 2, 5), dtype=np.float32)
    scores[0, :, 0] = 1  # same: ends valid
    scores[1, :, 2] = 1  # empty_empty: begins empty
    labels = consistent_labels(mean_probabilities(scores))
    assert is_consistent(tuple(LABELS[label] for label in labels))
