"""Evaluation results as a table, as JSON, and in the model card."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from core.types import Precision
from inference.engine.device import describe_device
from inference.engine.predictor import EngineOptions
from inference.models.loading import load_predictor
from training.evaluate import Tally
from training.synthetic.kinds import Kind

_COLUMNS: Final = {
    "pairs": "pairs right",
    "pairs_strict": "pairs right, doubtful ones too",
    "captions": "captions within one frame",
    "captions_exact": "captions exact",
    "precision": "boundary precision",
    "recall": "boundary recall",
}
_SPEED_STRIP: Final = (28, 402)
_SPEED_FRAMES: Final = 513  # a whole span
_SPEED_RUNS: Final = 5
_BEGIN, _END = "<!-- figures -->", "<!-- end of figures -->"


def summarise(tallies: Mapping[Kind, Tally], checkpoint: Path, clips_per_kind: int, seed: int) -> dict[str, Any]:
    """Summarise the results of an evaluation that the model card shows."""
    return {
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "size_bytes": checkpoint.stat().st_size,
        "test": {"clips_per_kind": clips_per_kind, "seed": seed},
        "kinds": _rows(tallies),
    }


def format_table(tallies: Mapping[Kind, Tally]) -> str:
    """Return a Markdown table with a row per kind."""
    return _table(_rows(tallies))


def measure_speed(checkpoint: Path) -> dict[str, int | str]:
    """Measure pairs (both directions count once) per second of processor time on one core, for strips of 402 × 28: the best of five spans.

    It is processor time, not wall time. Other load still matters through shared caches and memory bandwidth.
    """
    strips = np.random.default_rng(0).integers(0, 256, (_SPEED_FRAMES, *_SPEED_STRIP, 3), np.uint8)
    speeds: dict[str, int | str] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for precision in (Precision.FLOAT32, Precision.BFLOAT16):
        predictor = load_predictor(checkpoint, EngineOptions(precision=precision))
        seconds = []
        for _ in range(_SPEED_RUNS + 1):
            began = time.process_time()
            predictor.predict(None, strips)
            seconds.append(time.process_time() - began)
        speeds[precision.value] = round((_SPEED_FRAMES - 1) / min(seconds))
    torch.set_num_threads(threads)
    return speeds | {"machine": describe_device("cpu")}


def write_model_card(card: Path, figures: Mapping[str, Any]) -> None:
    """Replace the figures between the card's two markers.

    Raises:
        ValueError: a marker is missing.
    """
    text = card.read_text()
    if _BEGIN not in text or _END not in text:
        raise ValueError(f"{card}: needs the marks {_BEGIN} and {_END} around the figures")
    before, rest = text.split(_BEGIN, 1)
    card.write_text(before + _BEGIN + "\n" + _figures(figures) + "\n" + _END + rest.split(_END, 1)[1])


def _figures(figures: Mapping[str, Any]) -> str:
    training, speed, test = figures["training"], figures["speed"], figures["test"]
    return "\n".join(
        [
            f"Weights: {figures['size_bytes']:,} bytes, SHA-256 `{figures['sha256']}`.",
            f"Trained on {training['clips']:,} clips in {training['training_seconds'] / 60:.0f} minutes "
            f"(torch {training['torch']}, {training['processes']} processes of one thread; {training['machine']}; seed {training['seed']}, "
            f"{training['steps']:,} steps of {training['clips_per_batch']} clips).",
            f"Measured on {test['clips_per_kind']} clips of 65 frames of each kind (seed {test['seed']}).",
            f"Speed, strips of 402 × 28, {speed['machine']}: per second of one core's time {speed['float32']:,} pairs in float32, "
            f"{speed['bfloat16']:,} in bfloat16.",
            "",
            _table(figures["kinds"]),
        ]
    )


def _rows(tallies: Mapping[Kind, Tally]) -> dict[str, dict[str, Mapping[str, float]]]:
    """Return the counts and shares of each kind, and of all together."""
    named = {kind.value: tally for kind, tally in tallies.items()} | {"all": sum(tallies.values(), Tally())}
    rows: dict[str, dict[str, Mapping[str, float]]] = {}
    for name, tally in named.items():
        rows[name] = {"counts": asdict(tally), "shares": tally.shares()}
    return rows


def _table(rows: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    lines = ["| kind | captions | " + " | ".join(_COLUMNS.values()) + " |", "| --- |" + " ---: |" * (len(_COLUMNS) + 1)]
    for name, row in rows.items():
        shares = " | ".join(f"{100 * row['shares'][column]:.2f} %" for column in _COLUMNS)
        lines.append(f"| {name} | {row['counts']['captions']} | {shares} |")
    return "\n".join(lines)
