"""Describes the log of a run: each record in one line, and the state of each span. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from core.frames import span_count
from core.history import HistoryEntry, RunLog, SpanHistory
from streams.records import LogRecord, RunStarted, SpanDone, SpanFailed, SpanTaken


def describe(record: LogRecord) -> str:
    """Describe a record in one line."""
    fields: Any = record
    detail = f"{fields.kind.replace('_', ' ')}, run {str(fields.run_id)[:8]}, attempt {fields.attempt}"
    if hasattr(fields, "span"):
        detail += f", span {fields.span}"
    for name in ("worker", "error", "reason", "model_chosen"):
        if getattr(fields, name, None):
            detail += f", {name.replace('_', ' ')} {getattr(fields, name)}"
    if hasattr(fields, "span_seconds"):
        detail += f", {fields.span_seconds:.1f} s, {fields.gpu_seconds:.1f} on the device"
    return detail


def run_log(records: Sequence[tuple[datetime, LogRecord]]) -> RunLog:
    """Describe what happened to a run as a whole, and to the spans of its last attempt.

    Args:
        records: the records of one run in the order of its partition, each with its timestamp.
    """
    entries = (
        HistoryEntry(at, record.kind.replace("_", " "), _run_detail(record))
        for at, record in records
        if not isinstance(record, SpanTaken | SpanDone | SpanFailed)
    )
    last = max((record.attempt for _, record in records), default=1)
    return RunLog(tuple(entries), _spans([(at, record) for at, record in records if record.attempt == last]))


def _run_detail(record: LogRecord) -> str:
    fields: Any = record
    parts = [f"attempt {fields.attempt}"]
    request = getattr(fields, "request", None)
    if request is not None:
        parts.append(f"for {request.source_topic}/{request.source_partition}/{request.source_offset}")
    if isinstance(record, RunStarted):
        parts.append(f"{record.priority} priority, model {record.model_version}, {record.precision}")
    for name in ("model_chosen", "outcome", "reason"):
        if getattr(fields, name, None):
            parts.append(str(getattr(fields, name)))
    return ", ".join(parts)


def _spans(records: Iterable[tuple[datetime, LogRecord]]) -> tuple[SpanHistory, ...]:
    """Fold the spans of one attempt. Only the first result of a span counts."""
    spans: dict[int, SpanHistory] = {}
    for at, record in records:
        if isinstance(record, RunStarted):
            waiting = (SpanHistory(number, "waiting") for number in range(span_count(record.frame_count)))
            spans = {span.span: span for span in waiting} | spans
            continue
        if not isinstance(record, SpanTaken | SpanDone | SpanFailed):
            continue
        span = spans.get(record.span, SpanHistory(record.span, "waiting"))
        if span.state in ("done", "failed"):
            continue
        match record:
            case SpanTaken():
                workers = span.workers if record.worker in span.workers else (*span.workers, record.worker)
                span = replace(span, state="taken", tries=span.tries + 1, workers=workers, taken_at=span.taken_at or record.taken_at)
            case SpanDone():
                span = replace(
                    span,
                    state="done",
                    ended_at=at,
                    seconds=record.span_seconds,
                    gpu_seconds=record.gpu_seconds,
                    device=record.device,
                )
            case SpanFailed():
                span = replace(
                    span,
                    state="failed" if record.final else "waiting",
                    ended_at=at if record.final else None,
                    error=record.error,
                )
        spans[record.span] = span
    return tuple(spans[number] for number in sorted(spans))
