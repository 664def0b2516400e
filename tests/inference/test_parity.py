"""The production architecture gives the old service's own probabilities, in every way of running it."""

from functools import cache

import numpy as np
import pytest

from benchmarks.reference import Reference
from core.types import Precision
from inference.architectures.channel_fusion_lora_spatial import Engine
from inference.loading import load_predictor
from inference.predictor import Checkpoint, EngineOptions
from tests.inference.conformance import CASES, TOLERANCE, load_case

stored = cache(load_case)

PLAIN = {"merge": False, "share_stem": False, "channels_last": False, "fit_on_device": False}
"""Every optimisation that does not need a compiler."""


@pytest.mark.parametrize("case", CASES)
def test_every_pair_of_every_case(float32_engine: Engine, case: str) -> None:
    """In float32 every probability of every pair is within the tolerance, those of the pair across two spans included."""
    found = stored(case).predict(float32_engine)
    assert found.dtype == np.float32
    assert np.abs(found - stored(case).expected).max() < TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_the_plain_reference(conformance_checkpoint: Checkpoint, case: str) -> None:
    """So is the plain reference, pair by pair: what the engine is compared with is right itself."""
    pairs = [0, 6, len(stored(case).spans[0]) - 2]
    reference = Reference(conformance_checkpoint.config, conformance_checkpoint.state)
    found = reference.predict(stored(case).layout, stored(case).spans[0], pairs)
    assert np.abs(found - stored(case).expected[pairs]).max() < TOLERANCE


@pytest.mark.parametrize("off", [*({step: False} for step in PLAIN), PLAIN], ids=lambda off: "+".join(off))
def test_every_step_can_be_switched_off(conformance_checkpoint: Checkpoint, off: dict[str, bool]) -> None:
    """Without any one optimisation, and without all of them, the probabilities are the same within the tolerance."""
    predictor = load_predictor(conformance_checkpoint, EngineOptions(**off))
    for case in ("crop-right", "tile-right"):
        found = predictor.predict(predictor.open_video(stored(case).layout), stored(case).spans[0][:7])
        assert np.abs(found - stored(case).expected[:6]).max() < TOLERANCE


def test_bfloat16_gives_the_same_labels(conformance_checkpoint: Checkpoint) -> None:
    """In bfloat16 at least 99.5 % of all labels, over all cases, are float32's."""
    predictor = load_predictor(conformance_checkpoint, EngineOptions(precision=Precision.BFLOAT16))
    agree = [_same_labels(stored(case).predict(predictor), stored(case).expected) for case in CASES]
    assert np.concatenate(agree).mean() >= 0.995


def test_float16_gives_the_same_labels(conformance_checkpoint: Checkpoint) -> None:
    """In float16, where a CPU is slow, the same holds over a sample of every case, taken where a caption begins or ends."""
    predictor = load_predictor(conformance_checkpoint, EngineOptions(precision=Precision.FLOAT16))
    for case in CASES:
        first = _before_a_change(stored(case).expected)
        found = predictor.predict(predictor.open_video(stored(case).layout), stored(case).spans[0][first : first + 5])
        assert _same_labels(found, stored(case).expected[first : first + 4]).all()


def _same_labels(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return (found.argmax(-1) == expected.argmax(-1)).ravel()


def _before_a_change(expected: np.ndarray) -> int:
    """The second pair before one whose label differs from its predecessor's."""
    return max(0, int(np.flatnonzero(np.diff(expected[:, 0].argmax(-1)))[0]) - 1)
