"""The built-in model's speed on strips of two sizes."""

import statistics
from typing import Final

from benchmarks.engine import predict
from benchmarks.measure import take_turns
from benchmarks.results import Result, Value
from benchmarks.strips import synthetic_layout, synthetic_strips
from inference.engine.predictor import EngineOptions
from inference.models.builtin import builtin_checkpoint_path
from inference.models.loading import load_predictor

_STRIPS: Final = ((28, 402), (100, 1440))
_FRAMES: Final = 129


def measure_builtin() -> Result:
    """Pairs per second with the default options."""
    predictor = load_predictor(builtin_checkpoint_path(), EngineOptions())
    contenders = {
        f"{width}×{height}": predict(predictor, synthetic_layout(height, width), synthetic_strips(height, width, _FRAMES))
        for height, width in _STRIPS
    }
    rates = take_turns(contenders)
    rows: list[list[Value]] = [[name, statistics.median(values), min(values), max(values)] for name, values in rates.items()]
    return Result("builtin", "The built-in model, float32", ["strip", "pairs/s, median", "slowest round", "fastest round"], rows)
