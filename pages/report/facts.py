"""The parts of the report that need no script: facts, label shares, and the distribution of confidence."""

import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.provenance import readable_provenance
from core.types import FRAMES_PER_SECOND
from storage.run_db_reader import RunDatabase

CONFIDENCE_EDGES: Final = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)
"""Finer where a trained model's confidences are: nearly all of them are above 0.99."""


@dataclass(frozen=True, slots=True)
class ShareRow:
    """A table row with a bar. ``widths`` are 0..100, on a logarithmic scale if counts differ by orders of magnitude."""

    name: str
    counts: tuple[int, ...]
    widths: tuple[float, ...]


def facts(run: RunDatabase) -> list[tuple[str, str]]:
    """Return names and values, in reading order."""
    minutes, seconds = divmod((run.pairs + 1) / FRAMES_PER_SECOND, 60)
    captions = len(run.track.captions)
    known = [
        ("Run", f"{run.run_id}, attempt {run.attempt}"),
        ("Video", run.provenance.get("video_id", "")),
        ("Tenant", run.provenance.get("tenant_id", "")),
        ("Cropped frames", "" if run.cropped_frames_version is None else f"version {run.cropped_frames_version}"),
        ("Model", run.model_version if run.model_checkpoint_path is None else f"{run.model_version} ({run.model_checkpoint_path})"),
        ("Film", f"{minutes:.0f} min {seconds:.1f} s, {run.pairs + 1:,} frames"),
        ("Captions", f"{captions:,}"),
        ("Computed", _computed(run)),
        ("Not predicted", f"{len(run.missing_pairs):,} pairs" if run.missing_pairs else ""),
    ]
    rest = [(key.replace("_", " ").capitalize(), value) for key, value in readable_provenance(run.provenance)]
    return [(name, value) for name, value in [*known, *rest] if value]


def _computed(run: RunDatabase) -> str:
    at = f"{run.completed_at:%Y-%m-%d %H:%M:%S} UTC"
    return at if run.processing_time_seconds is None else f"{at} in {run.processing_time_seconds:.1f} s"


def label_rows(run: RunDatabase) -> list[ShareRow]:
    """Count the pairs of each label."""
    counts = run.track.label_counts
    return [ShareRow(label.value, (count,), (_log_width(count, run.pairs),)) for label, count in counts.items()]


def confidence_rows(run: RunDatabase) -> list[ShareRow]:
    """Count the pairs by the probability of the likeliest label: forward, backward."""
    edges = (*CONFIDENCE_EDGES[:-1], 1.0 + 1e-6)
    forward, backward = (np.histogram(run.probabilities[:, direction].max(axis=1), edges)[0].tolist() for direction in (0, 1))
    names = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(CONFIDENCE_EDGES)]
    return [
        ShareRow(name, (ahead, back), (_log_width(ahead, run.pairs), _log_width(back, run.pairs)))
        for name, ahead, back in zip(names, forward, backward, strict=True)
    ]


def _log_width(count: int, whole: int) -> float:
    return round(100 * math.log1p(count) / math.log1p(whole), 2)
