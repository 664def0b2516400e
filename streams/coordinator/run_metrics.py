"""Metrics from the log of a run and its result: how long requests wait, and what the models predict."""

from collections import Counter
from datetime import datetime

import numpy as np

from core.captions import CaptionTrack
from core.metrics import (
    CAPTIONS,
    CONFIDENCE_BANDS,
    CONFIDENCE_PAIRS,
    FILM_SECONDS,
    ISSUE_KIND,
    LABEL_PAIRS,
    QUALITY_ISSUES,
    REQUEST_TO_FIRST_SPAN,
    REQUEST_TO_OUTCOME,
    REQUEST_TO_START,
    RUN_DURATION,
    RUNS,
    model_label,
)
from core.runs import FinishedRun
from core.trace_context import exemplar
from core.types import FRAMES_PER_SECOND, Outcome, Priority
from streams.policy.run_state import RunState
from streams.records import LogRecord, RunStarted

_EDGES = (0.0, *(float(band.partition("-")[2]) for band in CONFIDENCE_BANDS[:-1]), 1.0 + 1e-6)


def count_record(before: RunState | None, record: LogRecord, after: RunState, timestamp_ms: int) -> None:
    """Count one record of the log. After a kill, some records are folded again and therefore counted again."""
    if after.started is None:
        return
    labels = _labels(after)
    if isinstance(record, RunStarted):
        REQUEST_TO_START.labels(*labels).observe(_since(after.started.requested_at, timestamp_ms), _exemplar(after))
    if after.first_taken_ms is not None and (before is None or before.first_taken_ms is None):
        REQUEST_TO_FIRST_SPAN.labels(*labels).observe(_since(after.started.requested_at, timestamp_ms), _exemplar(after))


def count_outcome(state: RunState, outcome: Outcome) -> None:
    """Count a run whose outcome has been announced."""
    labels = (outcome, *_labels(state))
    RUNS.labels(*labels).inc()
    if state.outcome_at_ms is None or state.started is None or state.started_at_ms is None:
        return
    RUN_DURATION.labels(*labels).observe(max(0, state.outcome_at_ms - state.started_at_ms) / 1000, _exemplar(state))
    REQUEST_TO_OUTCOME.labels(*labels).observe(_since(state.started.requested_at, state.outcome_at_ms), _exemplar(state))


def count_result(run: FinishedRun, track: CaptionTrack) -> None:
    """Count the model's predictions for a film."""
    model = model_label(run.model_version)
    for label, count in track.label_counts.items():
        LABEL_PAIRS.labels(model, label).inc(count)
    for direction, name in enumerate(("forward", "backward")):
        counts = np.histogram(run.probabilities[:, direction].max(axis=1), _EDGES)[0].tolist()
        for band, count in zip(CONFIDENCE_BANDS, counts, strict=True):
            CONFIDENCE_PAIRS.labels(model, name, band).inc(count)
    issues = Counter(issue.kind for issue in track.issues)
    for kind in ISSUE_KIND.values:
        QUALITY_ISSUES.labels(model, kind).inc(issues[kind])
    CAPTIONS.labels(model).inc(len(track.captions))
    FILM_SECONDS.labels(model).inc((run.pairs + 1) / FRAMES_PER_SECOND)


def _labels(state: RunState) -> tuple[str, str]:
    """Return the labels priority and replay. A run that was given up before it started counts as high, and as no replay."""
    if state.started is None:
        return Priority.HIGH, "no"
    return state.started.priority, "yes" if state.started.replay else "no"


def _since(moment: datetime, timestamp_ms: int) -> float:
    return max(0.0, timestamp_ms / 1000 - moment.timestamp())


def _exemplar(state: RunState) -> dict[str, str]:
    return exemplar(state.run_id, state.trace)
