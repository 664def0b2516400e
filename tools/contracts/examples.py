"""One example of every record, for ``docs/contracts``: built from the types, its ids and headers made as the service makes them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import numpy as np

from core.identity import request_id, run_id
from core.trace_context import TraceContext
from core.types import Outcome, Precision, Priority, RejectionType
from streams.policy import outcomes
from streams.policy.heartbeats import Heartbeat
from streams.policy.quarantine import QuarantineNotice
from streams.policy.results import encode_probabilities
from streams.policy.run_state import RunState
from streams.records import (
    Cancelled,
    DeadlinePassed,
    InferenceCompleted,
    InferenceFailed,
    InferenceRejected,
    Origin,
    Pins,
    Record,
    RequestRef,
    RunCancelled,
    RunFinished,
    RunJoined,
    RunStarted,
    SpanDone,
    SpanFailed,
    SpanTaken,
    VideoEncoded,
    Work,
)

_TENANT: Final = UUID("0d9f6c1e-52f4-4a0e-9c55-1d6b0a4c7e21")
_VIDEO: Final = UUID("7c1b7a52-8f0a-4a38-b0d6-54d8ab1f90c3")
_MODEL: Final = "mrn0fkfd"
_MOMENT: Final = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
_MOMENT_MS: Final = int(1000 * _MOMENT.timestamp())
_TRACE: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_TRACESTATE: Final = "encoder=t61rcWkgMzE"
_RUN: Final = run_id(_TENANT, _VIDEO, 1, _MODEL)
_REQUEST: Final = RequestRef(
    request_id=request_id(_TENANT, _VIDEO, 1, "encode-20260302-0001"),
    event_id="encode-20260302-0001",
    source_topic="video.encoded",
    source_partition=3,
    source_offset=18_204,
    traceparent=_TRACE,
    tracestate=_TRACESTATE,
)
_PINS: Final = Pins(
    run_id=_RUN,
    attempt=1,
    tenant_id=_TENANT,
    video_id=_VIDEO,
    cropped_frames_version=1,
    frame_count=3,
    model_version=_MODEL,
    checkpoint_sha256="3b1f7d0c" * 8,
    precision=Precision.FLOAT32,
    layout_sha256="a04c92e5" * 8,
    priority=Priority.HIGH,
)
_PINNED: Final = _PINS.model_dump(exclude={"schema_version"})
_WORK: Final = Work(**_PINNED, span=0)
_WORKER: Final = "gpu-1:17"
_ORIGIN: Final = Origin(topic="inference.work.high", partition=17, offset=402)
_PROBABILITIES: Final = np.array([[[0.96, 0.01, 0.01, 0.01, 0.01]] * 2, [[0.01, 0.96, 0.01, 0.01, 0.01]] * 2], np.float32)
_REASON: Final = "span 0: modulo_16/chunk_0000000000.webm: no WebM file"

_RECORDS: Final = (
    VideoEncoded(
        tenant_id=_TENANT,
        video_id=_VIDEO,
        cropped_frames_version=1,
        frame_count=3,
        model_version=_MODEL,
        priority=Priority.HIGH,
        event_id="encode-20260302-0001",
        occurred_at=_MOMENT,
    ),
    _WORK,
    RunStarted(
        **_PINNED,
        request=_REQUEST,
        requested_at=_MOMENT,
        deadline_seconds=3600,
        estimated_cost_usd=0.0000061,
        gpu_usd_per_hour=1.1,
        model_checkpoint_path=f"models/caption_frame_extents/{_MODEL}/model.safetensors",
    ),
    RunJoined(run_id=_RUN, attempt=1, request=_REQUEST),
    SpanTaken(
        run_id=_RUN,
        attempt=1,
        span=0,
        worker=_WORKER,
        taken_at=_MOMENT,
        origin=_ORIGIN,
        work_key=f"{_RUN}:0",
        work_value=_WORK.to_bytes().decode(),
    ),
    SpanDone(
        **_PINNED,
        span=0,
        worker=_WORKER,
        done_at=_MOMENT,
        frame_width=1440,
        frame_height=100,
        device="NVIDIA A10G, 22 GiB",
        engine={"torch": "2.9.0", "cuda": "12.8", "batch_size": "32", "compiled": "false"},
        gpu_seconds=0.011,
        span_seconds=0.184,
        probabilities=encode_probabilities(_PROBABILITIES),
    ),
    SpanFailed(
        run_id=_RUN,
        attempt=1,
        span=0,
        worker=_WORKER,
        failed_at=_MOMENT,
        final=True,
        error="modulo_16/chunk_0000000000.webm: no WebM file",
        origin=_ORIGIN,
        work_key=f"{_RUN}:0",
        work_value=_WORK.to_bytes().decode(),
    ),
    DeadlinePassed(run_id=_RUN, attempt=1, passed_at=_MOMENT),
    RunCancelled(run_id=_RUN, attempt=1, reason="requested by an operator", cancelled_at=_MOMENT),
    RunFinished(run_id=_RUN, attempt=1, outcome=Outcome.COMPLETED, answered=[_REQUEST.request_id]),
    Cancelled(run_id=_RUN, attempt=1, reason=_REASON),
    Heartbeat(
        instance=UUID("5b0e7f7c-2f0d-4f3a-8a64-0c1d7f1f9b11"),
        worker=_WORKER,
        role="gpu-worker",
        host="gpu-1",
        version="0.1.0",
        uptime_seconds=5_403.2,
        beat_seconds=10.0,
        waits=["object_store: it has not answered for 12 s"],
        models=[_MODEL],
        device="NVIDIA A10G, 22 GiB",
        pairs_per_second=98.4,
        busy_share=0.93,
        in_hand=3,
    ),
    QuarantineNotice(kind="span_suspected", run_id=_RUN, attempt=1, span=0),
    InferenceCompleted(
        run_id=str(_RUN),
        attempt=1,
        tenant_id=_TENANT,
        video_id=_VIDEO,
        cropped_frames_version=1,
        model_version=_MODEL,
        deduplicated=False,
        storage_key=f"videos/{_TENANT}/{_VIDEO}/caption_frame_extents/v1_model-{_MODEL}_run-{_RUN}.db",
        size_bytes=36_864,
        sha256="5ce1b0f7" * 8,
        pairs=2,
        label_counts={"same": 1, "different": 1, "empty_empty": 0, "empty_valid": 0, "valid_empty": 0},
        caption_count=2,
        queue_seconds=0.212,
        gpu_seconds=0.011,
        total_seconds=0.431,
        estimated_cost_usd=0.0000034,
        requests=[_REQUEST],
    ),
    InferenceFailed(
        run_id=_RUN,
        attempt=1,
        tenant_id=_TENANT,
        video_id=_VIDEO,
        cropped_frames_version=1,
        model_version=_MODEL,
        outcome=Outcome.FAILED,
        reason=_REASON,
        spans_done=0,
        spans_total=1,
        requests=[_REQUEST],
    ),
    InferenceRejected(
        request_id=_REQUEST.request_id,
        event_id=_REQUEST.event_id,
        source_topic=_REQUEST.source_topic,
        source_partition=_REQUEST.source_partition,
        source_offset=_REQUEST.source_offset,
        tenant_id=_TENANT,
        video_id=_VIDEO,
        cropped_frames_version=1,
        frame_count=240_000,
        model_version=_MODEL,
        priority=Priority.HIGH,
        rejection_type=RejectionType.FRAME_COUNT_EXCEEDED,
        message="frame_count is 240000; the limit is 200000 (EXTENTS_MAX_FRAME_COUNT)",
        estimated_cost_usd=0.73,
    ),
)

EXAMPLES: Final[Mapping[type[Record], Record]] = {type(record): record for record in _RECORDS}


def event_headers(kind: type[Record]) -> Mapping[str, str]:
    """The headers that the example of an outcome is sent with."""
    example = EXAMPLES[kind]
    match example:
        case InferenceRejected():
            event = outcomes.rejected(example, _MOMENT_MS, None, TraceContext(_TRACE, _TRACESTATE))
        case InferenceFailed():
            run = outcomes.RunIdentity(_RUN, _TENANT, _VIDEO, 1, _MODEL)
            state = RunState(run_id=str(_RUN), attempt=1, offset=0, requests=[_REQUEST], outcome=Outcome.FAILED, outcome_at_ms=_MOMENT_MS)
            event = outcomes.failed(run, state, example.reason)
        case InferenceCompleted():
            event = outcomes.deduplicated(example, _REQUEST, _MOMENT_MS)
        case _:
            raise ValueError(f"{kind.__name__} is not an outcome")
    return {name: value.decode() for name, value in event.headers.items()}
