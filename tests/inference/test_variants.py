"""Both architectures give the same labels in every precision, and the production one with every optimisation on or off."""

from functools import cache

import numpy as np
import pytest

from core.types import Precision
from inference.engine.predictor import Checkpoint, EngineOptions
from inference.models.builtin import builtin_checkpoint_path
from inference.models.loading import load_predictor
from tests.inference.conformance import CASES, TOLERANCE, load_case

stored = cache(load_case)

PLAIN = {"merge": False, "share_stem": False, "channels_last": False, "fit_on_device": False}
"""Switches off every optimisation that does not need a compiler."""


@pytest.mark.parametrize("off", [*({step: False} for step in PLAIN), PLAIN], ids=lambda off: "+".join(off))
def test_every_step_can_be_switched_off(conformance_checkpoint: Checkpoint, off: dict[str, bool]) -> None:
    """If any one optimisation is off, or all of them are, the probabilities stay within the tolerance."""
    predictor = load_predictor(conformance_checkpoint, EngineOptions(**off))
    for case in ("crop-right", "tile-right"):
        probabilities = predictor.predict(predictor.open_video(stored(case).layout), stored(case).spans[0][:7])
        assert np.abs(probabilities - stored(case).expected[:6]).max() < TOLERANCE


def test_bfloat16_gives_the_same_labels(conformance_checkpoint: Checkpoint) -> None:
    """In bfloat16 at least 99.5 % of all labels, over all cases, are the same as in float32."""
    predictor = load_predictor(conformance_checkpoint, EngineOptions(precision=Precision.BFLOAT16))
    agree = [_same_labels(stored(case).predict(predictor), stored(case).expected) for case in CASES]
    assert np.concatenate(agree).mean() >= 0.995


@pytest.mark.parametrize(
    ("precision", "steps"),
    [(Precision.FLOAT16, {}), (Precision.FLOAT16, PLAIN), (Precision.BFLOAT16, PLAIN)],
    ids=["float16", "float16 plain", "bfloat16 plain"],
)
def test_half_precision_gives_the_same_labels(conformance_checkpoint: Checkpoint, precision: Precision, steps: dict[str, bool]) -> None:
    """Float16, and both half precisions with every step off, give the same labels around a caption's change in every case."""
    predictor = load_predictor(conformance_checkpoint, EngineOptions(precision=precision, **steps))
    for case in CASES:
        first = _before_a_change(stored(case).expected)
        probabilities = predictor.predict(predictor.open_video(stored(case).layout), stored(case).spans[0][first : first + 3])
        assert _same_labels(probabilities, stored(case).expected[first : first + 2]).all()


@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16])
def test_the_built_in_model_gives_the_same_labels_in_half_precision(precision: Precision) -> None:
    """On a stored video, half precision and float32 give the same label for at least 99.5 % of the pairs."""
    case = stored("spans-center")
    single = load_predictor(builtin_checkpoint_path(), EngineOptions())
    half = load_predictor(builtin_checkpoint_path(), EngineOptions(precision=precision))
    agreed = case.predict(single).argmax(2) == case.predict(half).argmax(2)
    assert agreed.mean() >= 0.995


def _same_labels(probabilities: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return (probabilities.argmax(-1) == expected.argmax(-1)).ravel()


def _before_a_change(expected: np.ndarray) -> int:
    """Find the last pair before the first change of label."""
    return int(np.flatnonzero(np.diff(expected[:, 0].argmax(-1)))[0])
