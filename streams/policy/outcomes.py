"""Builds the outcome events with their CloudEvents headers. Pure: times come from the records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from core.identity import outcome_event_id, request_event_id
from core.moments import utc
from core.runs import FinishedRun, RunRow, StoredRun
from core.trace_context import TraceContext
from core.types import Outcome
from streams.policy.run_state import RunState
from streams.records import InferenceCompleted, InferenceFailed, InferenceRejected, Record, RequestRef, RunStarted

SOURCE: Final = "/extents/coordinator"

MAX_KEY_BYTES: Final = 1024
"""A received key may be as large as a record, and an event with such a key could not be sent."""


@dataclass(frozen=True, slots=True)
class OutcomeEvent:
    """An event ready to send. The same outcome always gives the same bytes, key and ``ce_id``."""

    name: str
    key: bytes
    value: bytes
    headers: Mapping[str, bytes]


def completed(
    state: RunState,
    run: FinishedRun,
    stored: StoredRun,
    label_counts: Mapping[str, int],
    caption_count: int,
    trace: TraceContext | None = None,
) -> OutcomeEvent:
    """The result of a run, addressed to all waiting requests.

    Args:
        trace: the trace that consumers of the event continue; by default the run's.
    """
    started = _started(state)
    body = InferenceCompleted(
        run_id=str(run.run_id),
        attempt=run.attempt,
        tenant_id=run.tenant_id,
        video_id=run.video_id,
        cropped_frames_version=run.cropped_frames_version,
        model_version=run.model_version,
        deduplicated=False,
        storage_key=stored.storage_key,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        pairs=run.pairs,
        label_counts=dict(label_counts),
        caption_count=caption_count,
        queue_seconds=_seconds(state.started_at_ms, state.first_taken_ms),
        gpu_seconds=run.gpu_seconds,
        total_seconds=_seconds(state.started_at_ms, state.outcome_at_ms),
        estimated_cost_usd=run.gpu_seconds / 3600 * started.gpu_usd_per_hour,
        requests=state.requests,
    )
    event_id = outcome_event_id(run.run_id, run.attempt, Outcome.COMPLETED)
    return _event("inference.completed", run.video_id, body, event_id, state.outcome_at_ms, trace or state.trace)


def deduplicated(template: InferenceCompleted, request: RequestRef, timestamp_ms: int) -> OutcomeEvent:
    """The answer to a request whose run exists already, so that no GPU was used."""
    body = template.model_copy(update={"deduplicated": True, "requests": [request]})
    event_id = request_event_id(request.request_id, Outcome.COMPLETED)
    return _event("inference.completed", body.video_id, body, event_id, timestamp_ms, request.trace)


def found_summary(
    row: RunRow, attempt: int, label_counts: Mapping[str, int], caption_count: int, gpu_seconds: float, cost_usd: float
) -> InferenceCompleted:
    """The summary of a run that finished earlier, from its row and its database."""
    return InferenceCompleted(
        run_id=row.run_id,
        attempt=attempt,
        tenant_id=row.tenant_id,
        video_id=row.video_id,
        cropped_frames_version=row.cropped_frames_version,
        model_version=row.model_version,
        deduplicated=True,
        storage_key=row.storage_key,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        pairs=row.total_pairs,
        label_counts=dict(label_counts),
        caption_count=caption_count,
        queue_seconds=0.0,
        gpu_seconds=gpu_seconds,
        total_seconds=row.processing_time_seconds or 0.0,
        estimated_cost_usd=cost_usd,
        requests=[],
    )


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """The run that an ``inference.failed`` event is about."""

    run_id: UUID
    tenant_id: UUID
    video_id: UUID
    cropped_frames_version: int
    model_version: str


def failed(run: RunIdentity, state: RunState, reason: str, trace: TraceContext | None = None) -> OutcomeEvent:
    """The failure or cancellation of a run, addressed to all waiting requests.

    Args:
        trace: as for ``completed``.

    Raises:
        ValueError: the outcome was announced before; requests that joined since then are answered by ``failed_late``.
    """
    if state.finished_at_ms is not None:
        raise ValueError(f"the outcome of run {state.run_id} has already been announced")
    event_id = outcome_event_id(run.run_id, state.attempt, Outcome.FAILED)
    return _failed(run, state, reason, state.requests, state.outcome_at_ms, event_id, trace or state.trace)


def failed_late(run: RunIdentity, state: RunState, reason: str, request: RequestRef, timestamp_ms: int) -> OutcomeEvent:
    """The answer to a request that joined a failed run after its failure was announced."""
    event_id = request_event_id(request.request_id, Outcome.FAILED)
    return _failed(run, state, reason, [request], timestamp_ms, event_id, request.trace)


def _failed(
    run: RunIdentity,
    state: RunState,
    reason: str,
    requests: Sequence[RequestRef],
    timestamp_ms: int | None,
    event_id: UUID,
    trace: TraceContext | None,
) -> OutcomeEvent:
    body = InferenceFailed(
        run_id=run.run_id,
        attempt=state.attempt,
        tenant_id=run.tenant_id,
        video_id=run.video_id,
        cropped_frames_version=run.cropped_frames_version,
        model_version=run.model_version,
        outcome=Outcome.CANCELLED if state.outcome is Outcome.CANCELLED else Outcome.FAILED,
        reason=reason,
        spans_done=len(state.done),
        spans_total=state.spans,
        requests=list(requests),
    )
    return _event("inference.failed", run.video_id, body, event_id, timestamp_ms, trace)


def rejected(body: InferenceRejected, timestamp_ms: int, received_key: bytes | None, trace: TraceContext | None) -> OutcomeEvent:
    """A rejection. Without ids its event id is derived from the record's position, and its key is the received key, truncated."""
    source = UUID(int=0) if body.request_id is None else body.request_id
    source_name = "rejected" if body.request_id else f"rejected/{body.source_topic}/{body.source_partition}/{body.source_offset}"
    key = (received_key or b"")[:MAX_KEY_BYTES] if body.video_id is None else str(body.video_id).encode()
    return OutcomeEvent(
        "inference.rejected",
        key,
        body.to_bytes(),
        _headers("inference.rejected", request_event_id(source, source_name), timestamp_ms, trace),
    )


def _started(state: RunState) -> RunStarted:
    if state.started is None:
        raise ValueError(f"run {state.run_id} has an outcome but was never started")
    return state.started


def _event(name: str, video_id: UUID, body: Record, event_id: UUID, timestamp_ms: int | None, trace: TraceContext | None) -> OutcomeEvent:
    return OutcomeEvent(name, str(video_id).encode(), body.to_bytes(), _headers(name, event_id, timestamp_ms or 0, trace))


def _headers(name: str, event_id: UUID, timestamp_ms: int, trace: TraceContext | None) -> dict[str, bytes]:
    headers = {
        "ce_specversion": b"1.0",
        "ce_id": str(event_id).encode(),
        "ce_type": f"extents.{name}.v1".encode(),
        "ce_source": SOURCE.encode(),
        "ce_time": utc(timestamp_ms).isoformat(timespec="milliseconds").encode(),
        "content-type": b"application/json",
    }
    return headers if trace is None else {**headers, **trace.headers()}


def _seconds(start_ms: int | None, end_ms: int | None) -> float:
    return 0.0 if start_ms is None or end_ms is None else max(0, end_ms - start_ms) / 1000
