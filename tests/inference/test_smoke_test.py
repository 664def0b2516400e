"""A model is stored only after it has computed valid probabilities."""

import numpy as np
import pytest

from core.errors import CheckpointError
from inference.engine.predictor import EngineOptions
from inference.models.builtin import builtin_checkpoint_path
from inference.models.loading import load_predictor
from inference.models.smoke_test import run_smoke_test


class Predicts:
    """A predictor that returns the same value for every pair."""

    def __init__(self, value: float) -> None:
        self.value = value

    def open_video(self, layout: object) -> None:
        pass

    def predict(self, video: None, frames: np.ndarray) -> np.ndarray:
        return np.full((len(frames) - 1, 2, 5), self.value, np.float32)


def test_a_model_that_computes_passes() -> None:
    """The built-in model passes, and so does a model whose probabilities are all equal."""
    run_smoke_test(load_predictor(builtin_checkpoint_path(), EngineOptions()))
    run_smoke_test(Predicts(0.2))


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan, np.inf])
def test_what_is_no_probability_is_refused(value: float) -> None:
    """Values that do not sum to one or are not finite are rejected with the values found."""
    with pytest.raises(CheckpointError, match="for a pair of black strips; expected probabilities"):
        run_smoke_test(Predicts(value))
