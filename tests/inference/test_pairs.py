"""Pairs of a film's samples are predicted only where something may change, with the captions that predicting all of them gives."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from core.captions import find_captions
from core.types import LABELS
from inference.arrays import Features, Frames, Indices, Probabilities
from inference.engine.canvas import to_canvases
from inference.engine.predictor import EngineOptions
from inference.finding.pairs import Pairs
from inference.models.builtin import builtin_checkpoint_path
from inference.models.loading import load_predictor
from inference.models.session import BuiltinSession
from tests.inference.conformance import load_case


class Counting(BuiltinSession):
    """Counts the frames that are encoded and the pairs that are compared."""

    encoded = compared = 0

    def extend(self, kept: Features | None, frames: Frames, first: Indices, second: Indices) -> tuple[Features, Probabilities]:
        self.encoded += len(frames)
        self.compared += len(first)
        return super().extend(kept, frames, first, second)


@pytest.fixture(scope="module")
def session() -> Counting:
    return Counting(batch_size=32)


@pytest.fixture(scope="module")
def strips() -> Frames:
    """530 frames with captions, in the network's size."""
    spans = load_case("spans-center").spans
    frames = np.concatenate([spans[0], spans[1][1:]])
    canvases = to_canvases(frames, *BuiltinSession(1).strip_size)
    return ((canvases + 1) * 127.5).round().astype(np.uint8).transpose(0, 2, 3, 1)


def in_batches(pairs: Pairs, strips: Frames, sizes: Sequence[int]) -> Probabilities:
    edges = np.cumsum([0, *sizes])
    assert edges[-1] == len(strips)
    return np.concatenate([pairs.add(list(strips[a:b])) for a, b in pairwise(edges)])


@pytest.mark.parametrize("sizes", [[64] * 8 + [18], [530], [1, 2, 3, 4, 5, 515]])
def test_captions_are_those_of_all_pairs(session: Counting, strips: Frames, sizes: list[int]) -> None:
    """However a film is cut into batches, it has the captions that predicting every pair gives, for less than half of the work."""
    session.encoded = session.compared = 0
    probabilities = in_batches(Pairs(session), strips, sizes)
    assert probabilities.shape == (529, 2, len(LABELS))
    assert session.encoded < 530 / 2
    assert session.compared < 529 * 0.6
    expected = find_captions(session.predict(None, strips)).captions
    captions = find_captions(probabilities).captions
    assert [(c.first_frame, c.last_frame) for c in captions] == [(c.first_frame, c.last_frame) for c in expected]
    np.testing.assert_allclose([c.confidence for c in captions], [c.confidence for c in expected], atol=0.02)


def test_boundaries_have_their_own_probabilities(session: Counting, strips: Frames) -> None:
    """The pair at a boundary is predicted itself: its probabilities are those of predicting every pair."""
    probabilities, whole = in_batches(Pairs(session), strips, [64] * 8 + [18]), session.predict(None, strips)
    starts = [caption.first_frame - 1 for caption in find_captions(whole).captions if caption.first_frame]
    assert starts
    np.testing.assert_allclose(probabilities[starts], whole[starts], atol=1e-5)


def test_other_networks_predict_every_pair(strips: Frames) -> None:
    """A predictor that cannot compare any two frames predicts all pairs, also across batches."""
    predictor = load_predictor(builtin_checkpoint_path(), EngineOptions())
    few = strips[:40]
    np.testing.assert_allclose(in_batches(Pairs(predictor), few, [1, 30, 9]), predictor.predict(None, few), atol=1e-5)
