"""Compares the engine with the plain reference on the same frames and weights, and with the processor's peak."""

import statistics
from collections.abc import Callable
from typing import Final

import torch

from benchmarks.measure import MACS_PER_PAIR, matrix_product, median_ratio, take_turns
from benchmarks.reference import Reference
from benchmarks.results import Result, Value
from benchmarks.strips import synthetic_layout, synthetic_strips
from benchmarks.weights import build_checkpoint
from core.types import Layout, Precision
from inference.engine.predictor import EngineOptions, Frames, Predictor
from inference.models.loading import load_predictor

BATCH: Final = 32
STRIP: Final = (28, 402)
_REFERENCE_PAIRS: Final = 4
_MATRIX_SIDE: Final = 2048
_VARIANTS: Final = {
    "float32": EngineOptions(batch_size=BATCH),
    "float32 compiled": EngineOptions(batch_size=BATCH, compile=True),
    "bfloat16": EngineOptions(batch_size=BATCH, precision=Precision.BFLOAT16),
    "bfloat16 compiled": EngineOptions(batch_size=BATCH, precision=Precision.BFLOAT16, compile=True),
}


def measure_engine() -> Result:
    """Pairs per second of each variant, its ratio to the plain reference, and its share of the matrix-product limit."""
    checkpoint = build_checkpoint()
    frames, layout = synthetic_strips(*STRIP, BATCH + 1), synthetic_layout(*STRIP)
    reference = Reference(checkpoint.config, checkpoint.state)
    contenders: dict[str, Callable[[], int]] = {"reference": lambda: len(reference.predict(layout, frames, range(_REFERENCE_PAIRS)))}
    predictors = {name: load_predictor(checkpoint, options) for name, options in _VARIANTS.items()}
    for name, predictor in predictors.items():
        contenders[name] = predict(predictor, layout, frames)
    for precision in (Precision.FLOAT32, Precision.BFLOAT16):
        contenders[f"limit {precision}"] = matrix_product("cpu", getattr(torch, precision), _MATRIX_SIDE)
    rates = take_turns(contenders)
    rows: list[list[Value]] = [["plain reference, float32", statistics.median(rates["reference"]), 1.0, ""]]
    for name, options in _VARIANTS.items():
        limit = [rate / MACS_PER_PAIR for rate in rates[f"limit {options.precision}"]]
        share = f"{median_ratio(rates[name], limit):.0%} of {statistics.median(limit):.1f}"
        uncompiled = ", found no compiler" if options.compile and not predictors[name].options.compile else ""
        rows.append([f"engine, {name}{uncompiled}", statistics.median(rates[name]), median_ratio(rates[name], rates["reference"]), share])
    notes = [
        f"Strips of {STRIP[1]}×{STRIP[0]}, batches of {BATCH} pairs, resizing included; medians of {len(rates['reference'])} rounds"
        " in which all take turns, ratios within each round.",
        f"Limit: a product of {_MATRIX_SIDE}×{_MATRIX_SIDE} matrices in the same round, over {MACS_PER_PAIR / 1e9:.2f} GMAC a pair.",
    ]
    return Result("engine", "Engine against the plain reference", ["variant", "pairs/s", "× reference", "share of the limit"], rows, notes)


def predict(predictor: Predictor, layout: Layout, frames: Frames) -> Callable[[], int]:
    """Return a contender that predicts all pairs and returns their number."""
    video = predictor.open_video(layout)
    return lambda: len(predictor.predict(video, frames))
