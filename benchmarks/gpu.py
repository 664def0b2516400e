"""``python benchmarks/gpu.py``: measures the production network on a GPU. Needs only this checkout, PyTorch, NumPy and Pillow.

Frames and weights are synthetic. It also runs on a CPU, to try it out.
"""

import argparse
import importlib.util
import logging
import statistics
import sys
import types
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
if importlib.util.find_spec("structlog") is None:  # the one thing the engine needs that such a machine may lack

    class _Log:
        def warning(self, event: str, **fields: object) -> None:
            logging.warning("%s %s", event, fields)

    stand_in: Any = types.ModuleType("structlog")
    stand_in.get_logger = _Log
    sys.modules["structlog"] = stand_in

from benchmarks.machine import describe_machine  # needs the path above, as do the following
from benchmarks.measure import MACS_PER_PAIR, matrix_product, median_ratio, take_turns
from benchmarks.results import Result, Value
from benchmarks.strips import synthetic_layout, synthetic_strips
from benchmarks.weights import build_checkpoint
from core.types import Layout, Precision
from inference.architectures import find_architecture
from inference.engine.device import pick_device
from inference.engine.predictor import Checkpoint, EngineOptions, Frames, Predictor

STRIP: Final = (100, 1440)  # larger than most, so that the cost of resizing is not understated
PARITY_PAIRS: Final = 16

A10_FLOPS: Final = {Precision.FLOAT32: 31.2e12, Precision.BFLOAT16: 125e12, Precision.FLOAT16: 125e12}
"""Dense peak from NVIDIA's data sheet of the A10. AWS's variant, the A10G, has less in half precision."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default=pick_device())
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--precisions", type=Precision, nargs="+", default=list(Precision), metavar="PRECISION")
    parser.add_argument("--frames", type=int, default=513, help="frames of a span")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    machine = describe_machine(options.device)
    result = measure(options)
    result.write(machine, options.out)
    print(result.table(), *(f"- {key}: {value}" for key, value in machine.items()), sep="\n")


def measure(options: argparse.Namespace) -> Result:
    """Measure every precision and batch size, uncompiled and compiled, one after the other, so that each has the device alone."""
    checkpoint = build_checkpoint()
    frames, layout = synthetic_strips(*STRIP, options.frames), synthetic_layout(*STRIP)
    exact = _predict(_load(checkpoint, EngineOptions(batch_size=PARITY_PAIRS)), layout, frames[: PARITY_PAIRS + 1])
    rows: list[list[Value]] = []
    for precision in options.precisions:
        for compiled in (False,) if options.no_compile else (False, True):
            for batch_size in options.batch_sizes:
                engine = EngineOptions(options.device, precision, batch_size, compiled)
                rows.append(_measure_one(checkpoint, engine, layout, frames, exact, options.rounds))
                print(*rows[-1], sep="\t", file=sys.stderr, flush=True)
    columns = [
        "precision",
        "compiled",
        "batch",
        "pairs/s",
        "share of the matrix limit",
        "A10G, estimated pairs/s",
        "peak memory, MiB",
        "largest difference",
        "labels",
    ]
    notes = [
        f"Spans of {options.frames} strips of {STRIP[1]}×{STRIP[0]} from host memory to probabilities there; median of {options.rounds}.",
        f"Limit: a square matrix product's rate in the same precision and round, over {MACS_PER_PAIR / 1e9:.2f} GMAC a pair.",
        "A10G: not measured but estimated, as the same share of an A10's peak by NVIDIA's data sheet"
        f" ({A10_FLOPS[Precision.FLOAT32] / 1e12:g} TFLOP/s in float32, {A10_FLOPS[Precision.BFLOAT16] / 1e12:g} dense in half precision)."
        " A product of matrices stays below such a peak, and an A10G below an A10 in half precision: this is an upper bound.",
        f"Difference and equal labels: of {PARITY_PAIRS} pairs, against float32 on the CPU.",
    ]
    return Result("gpu", "The production network on this device", columns, rows, notes)


def _measure_one(
    checkpoint: Checkpoint, options: EngineOptions, layout: Layout, frames: Frames, exact: np.ndarray, rounds: int
) -> list[Value]:
    on_gpu = torch.device(options.device).type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    predictor = _load(checkpoint, options)
    video = predictor.open_video(layout)
    probabilities = predictor.predict(video, frames[: PARITY_PAIRS + 1])
    product = matrix_product(options.device, getattr(torch, options.precision), 8192 if on_gpu else 1024)
    rates = take_turns({"engine": lambda: len(predictor.predict(video, frames)), "limit": product}, rounds)
    share = median_ratio(rates["engine"], [rate / MACS_PER_PAIR for rate in rates["limit"]])
    return [
        str(options.precision),
        "yes" if predictor.options.compile else "no",  # as it really ran: without a compiler, or short of memory, it is not compiled
        predictor.options.batch_size,
        statistics.median(rates["engine"]),
        f"{share:.0%}",
        estimate_on_a10(options.precision, share) if on_gpu else "",  # a share reached on a CPU says nothing about a GPU
        round(torch.cuda.max_memory_allocated() / 2**20) if on_gpu else "",
        f"{np.abs(probabilities - exact).max():.1e}",
        f"{(probabilities.argmax(-1) == exact.argmax(-1)).mean():.1%}",
    ]


def estimate_on_a10(precision: Precision, share: float) -> float:
    """Estimate pairs per second on an A10, assuming that the network reaches the same share of its peak."""
    return share * A10_FLOPS[precision] / (2 * MACS_PER_PAIR)


def _load(checkpoint: Checkpoint, options: EngineOptions) -> Predictor:
    return find_architecture(checkpoint.architecture_name).load(checkpoint, options)


def _predict(predictor: Predictor, layout: Layout, frames: Frames) -> np.ndarray:
    return predictor.predict(predictor.open_video(layout), frames)


if __name__ == "__main__":
    main()
