"""Checks that a loaded network also computes, with one pair of black strips."""

import io

import numpy as np
from PIL import Image

from core.errors import CheckpointError
from core.types import Anchor, Layout
from inference.engine.predictor import Predictor

_WIDTH, _HEIGHT = 64, 32  # any size will do


def run_smoke_test(predictor: Predictor) -> None:
    """Predict one pair.

    Raises:
        CheckpointError: the results are not probabilities.
    """
    image = io.BytesIO()
    Image.new("RGB", (_WIDTH, _HEIGHT)).save(image, "PNG")
    layout = Layout(Anchor.CENTER, 0, 0, _WIDTH, _HEIGHT, _WIDTH, _HEIGHT, image.getvalue())
    probabilities = predictor.predict(predictor.open_video(layout), np.zeros((2, _HEIGHT, _WIDTH, 3), np.uint8))
    if not np.allclose(probabilities.sum(axis=-1), 1.0, atol=1e-2):  # NaN is not close either; half precision rounds the sum
        raise CheckpointError(f"the model predicts {probabilities.tolist()} for a pair of black strips; expected probabilities")
