"""From probabilities to captions: the likeliest consistent labels, with doubtful captions reported."""

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from core.captions import LEAST_CONFIDENCE, extent_confidence, find_captions
from core.labels import (
    DIFFERENT,
    EMPTY_EMPTY,
    EMPTY_VALID,
    PROBABILITY_FLOOR,
    SAME,
    VALID_EMPTY,
    consistent_labels,
    mean_probabilities,
    staying_weights,
)
from core.types import LABELS, Label

BEFORE = {Label.SAME: True, Label.DIFFERENT: True, Label.EMPTY_EMPTY: False, Label.EMPTY_VALID: False, Label.VALID_EMPTY: True}
AFTER = {Label.SAME: True, Label.DIFFERENT: True, Label.EMPTY_EMPTY: False, Label.EMPTY_VALID: True, Label.VALID_EMPTY: False}


def probabilities(pairs: st.SearchStrategy[int]):
    scores = st.floats(0, 1, width=32)
    return pairs.flatmap(lambda count: npst.arrays(np.float32, (count, 2, 5), elements=scores))


def certain(*labels: Label, p: float = 0.9) -> np.ndarray:
    """Probabilities of a video in which each pair has its label with certainty, in both directions."""
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
    """Each pair's label begins in the state in which the pair before it ends, whatever the probabilities."""
    assert is_consistent(tuple(LABELS[label] for label in find_captions(scores).labels))


@settings(deadline=None)
@given(probabilities(st.integers(1, 5)))
def test_labels_are_the_likeliest_consistent_sequence(scores):
    """No consistent sequence has a greater product of probabilities, with those of staying labels weighted by their run."""
    mean = mean_probabilities(scores)
    log = np.log(np.maximum(mean, PROBABILITY_FLOOR))
    log[:, [SAME, EMPTY_EMPTY]] *= staying_weights(mean)[:, None]

    def score(labels: tuple[Label, ...]) -> float:
        return sum(float(log[pair, LABELS.index(label)]) for pair, label in enumerate(labels))

    best = max(score(labels) for labels in product(LABELS, repeat=len(scores)) if is_consistent(labels))
    used = tuple(LABELS[label] for label in find_captions(scores).labels)
    assert score(used) == pytest.approx(best, abs=1e-9)


@settings(deadline=None)
@given(probabilities(st.integers(1, 60)))
def test_captions_ascend_without_overlap_and_cover_every_valid_frame(scores):
    """Captions, including doubtful ones, ascend, share no frame, and cover exactly the frames with text by the labels."""
    track = find_captions(scores)
    every = sorted([*track.captions, *(doubt.caption for doubt in track.doubts)], key=lambda caption: caption.first_frame)
    used = [LABELS[label] for label in track.labels]
    valid = {frame for frame, label in enumerate(used) if BEFORE[label]} | {frame + 1 for frame, label in enumerate(used) if AFTER[label]}
    covered = [frame for caption in every for frame in range(caption.first_frame, caption.last_frame + 1)]
    assert covered == sorted(valid)


@settings(deadline=None)
@given(probabilities(st.integers(1, 60)))
def test_boundaries_carry_the_probability_of_their_label(scores):
    """A confidence is the mean probability of the label at the boundary, and is missing only at the video's own start or end."""
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
    """Playing the film backward, with its directions exchanged, gives the same mean probabilities in reverse order."""
    backward = mean_probabilities(np.ascontiguousarray(scores[::-1, ::-1]))
    swapped = [0, 1, 2, 4, 3]
    assert np.array_equal(backward[::-1][:, swapped], mean_probabilities(scores))


def test_a_worked_example():
    """Two consecutive captions and one that lasts to the end are found with their times."""
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
    """A film of one pair has the captions that its one label implies."""
    assert [(c.first_frame, c.last_frame) for c in find_captions(certain(label)).captions] == expected


def test_an_incoherent_label_is_overruled_and_reported():
    """A single pair that contradicts its neighbours is relabelled to fit them, and reported."""
    scores = certain(Label.SAME, Label.SAME, Label.SAME)
    scores[1, :] = [0.4, 0.0, 0.6, 0.0, 0.0]  # empty_empty between two same
    track = find_captions(scores)
    assert [(c.first_frame, c.last_frame, c.start_confidence, c.end_confidence) for c in track.captions] == [(0, 3, None, None)]
    assert [(issue.kind, issue.frame_index, issue.detail) for issue in track.issues] == [
        ("incoherent", 1, "likeliest empty_empty 0.600, used same 0.400")
    ]


def test_directions_that_disagree_are_reported():
    """Forward and backward labels are compared after the backward ones are reversed."""
    scores = certain(Label.EMPTY_VALID, Label.SAME)
    assert find_captions(scores).issues == ()
    scores[1, 1] = [0.45, 0.55, 0.0, 0.0, 0.0]
    assert [(issue.kind, issue.frame_index) for issue in find_captions(scores).issues] == [("direction_conflict", 1)]


def test_a_caption_of_one_frame_is_reported():
    """A caption of one frame is reported with its frame."""
    track = find_captions(certain(Label.EMPTY_EMPTY, Label.EMPTY_VALID, Label.VALID_EMPTY, Label.EMPTY_EMPTY))
    assert [(issue.kind, issue.frame_index) for issue in track.issues] == [("single_frame", 2)]


def test_zero_probabilities_do_not_forbid_a_sequence():
    """If every consistent sequence has a probability of zero, the least unlikely one is chosen."""
    scores = np.zeros((2, 2, 5), dtype=np.float32)
    scores[0, :, 0] = 1  # same: ends valid
    scores[1, :, 2] = 1  # empty_empty: begins empty
    labels = consistent_labels(mean_probabilities(scores))
    assert is_consistent(tuple(LABELS[label] for label in labels))


def grass(pairs: int) -> np.ndarray:
    """An empty film in which something looks like letters in the middle, without a pair at which they begin or end."""
    scores = certain(*[Label.EMPTY_EMPTY] * pairs, p=0.96)
    middle = slice(pairs // 3, 2 * pairs // 3)
    scores[middle, :, SAME], scores[middle, :, EMPTY_EMPTY] = 0.9, 0.07
    return scores


@pytest.mark.parametrize("pairs", [9, 60, 600])
def test_what_has_neither_beginning_nor_end_is_no_caption(pairs):
    """Something that looks like letters but has no boundaries is not a caption, however long it lasts."""
    assert find_captions(grass(pairs)).captions == ()


def test_a_run_of_pairs_counts_once_whatever_its_length():
    """Every run of one likeliest label has the same total weight, so a film at twice the rate gives the same result."""
    mean = mean_probabilities(certain(*[Label.SAME] * 3, Label.DIFFERENT, *[Label.SAME] * 30))
    weights = staying_weights(mean)
    assert weights[:3].sum() == pytest.approx(weights[4:].sum())


def test_a_doubtful_caption_is_left_out_and_reported():
    """A caption with weak boundaries and possibly empty pairs is left out and reported with its frames; the caption beside it stays."""
    E, V, S, N = Label.EMPTY_EMPTY, Label.EMPTY_VALID, Label.SAME, Label.VALID_EMPTY
    scores = certain(E, V, S, S, S, N, E, E, V, S, S, N, E)
    scores[9:11] = [0.55, 0.0, 0.45, 0.0, 0.0]
    track = find_captions(scores)
    assert [(c.first_frame, c.last_frame) for c in track.captions] == [(2, 5)]
    assert [(doubt.caption.first_frame, doubt.caption.last_frame) for doubt in track.doubts] == [(9, 11)]
    assert track.doubts[0].caption.confidence < LEAST_CONFIDENCE < track.captions[0].confidence
    doubtful = [issue for issue in track.issues if issue.kind == "doubtful"]
    assert [(issue.frame_index, issue.detail.split(":")[0]) for issue in doubtful] == [(9, "frames 9 to 11 are left out of the captions")]


def test_what_follows_a_caption_does_not_weaken_its_end():
    """A caption that surely ends is kept, even if it is unsure whether another one follows."""
    scores = certain(Label.EMPTY_VALID, Label.SAME, Label.VALID_EMPTY, Label.EMPTY_EMPTY)
    scores[2] = [[0.02, 0.47, 0.0, 0.0, 0.51], [0.02, 0.47, 0.0, 0.51, 0.0]]
    (caption,) = find_captions(scores).captions
    assert caption.end_confidence == pytest.approx(0.51, abs=1e-3)
    assert caption.confidence > 0.7


@pytest.mark.parametrize(("pairs", "doubted"), [(150, False), (250, True)])
def test_what_is_visible_in_the_whole_film_is_no_caption(pairs, doubted):
    """A caption of the whole film counts as a logo and is doubtful, unless the clip is short."""
    track = find_captions(certain(*[Label.SAME] * pairs, p=0.99))
    assert (len(track.captions), len(track.doubts)) == ((0, 1) if doubted else (1, 0))
    assert all("as logos do" in doubt.reason for doubt in track.doubts)


@settings(deadline=None)
@given(probabilities(st.integers(2, 60)), st.data())
def test_confidence_is_the_same_number_on_every_machine(scores, data):
    """The sum over a caption is exact and rounded once, so no summing order or library can change the confidence."""
    mean = mean_probabilities(scores)
    first = data.draw(st.integers(1, len(mean) - 1))
    last = data.draw(st.integers(first, len(mean) - 1))
    start = float(mean[first - 1, DIFFERENT]) + float(mean[first - 1, EMPTY_VALID])
    end = float(mean[last, DIFFERENT]) + float(mean[last, VALID_EMPTY])
    exact = sum((Fraction(float(value)) for value in mean[first:last, SAME]), Fraction(0))
    inside = float(exact) / (last - first) if last > first else 1.0
    assert extent_confidence(mean, first, last) == min(1.0, min(start, end) * inside * inside)


def test_what_is_far_less_sure_than_the_caption_beside_it_is_doubtful() -> None:
    """Lights that remain where a clear caption ends are not a caption. A weak caption by itself, or beside weak ones, counts."""
    gap = certain(*[Label.EMPTY_EMPTY] * 4, p=0.99)
    clear = certain(Label.EMPTY_VALID, *[Label.SAME] * 8, Label.VALID_EMPTY, p=0.99)
    weak = clear.copy()
    weak[[0, -1]] = certain(Label.EMPTY_VALID, Label.VALID_EMPTY, p=0.3)
    joined = np.concatenate([clear[:-1], certain(Label.DIFFERENT, p=0.99), weak[1:]])
    assert len(find_captions(np.concatenate([gap, clear, gap, weak, gap, clear, gap])).captions) == 3
    beside_clear_ones = find_captions(np.concatenate([gap, clear, gap, joined, gap]))
    assert [(caption.first_frame, caption.last_frame) for caption in beside_clear_ones.captions] == [(5, 13), (19, 27)]
    (doubt,) = beside_clear_ones.doubts
    assert doubt.caption.first_frame == 28
    assert "beside a surer caption; usual in this video is 0.9" in doubt.reason
