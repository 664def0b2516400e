"""Records of one run's log, for tests: ids, times and numbers follow from the arguments."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np

from core.frames import plan_span
from core.types import Outcome, Precision, Priority
from streams.records import (
    DeadlinePassed,
    LogRecord,
    RequestRef,
    RunCancelled,
    RunFinished,
    RunJoined,
    RunStarted,
    SpanDone,
    SpanFailed,
    SpanTaken,
    Work,
)

RUN = UUID(int=1)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def pins(attempt: int = 1, frame_count: int = 1026, **changes: Any) -> dict[str, Any]:
    return {
        "run_id": RUN,
        "attempt": attempt,
        "tenant_id": UUID(int=2),
        "video_id": UUID(int=3),
        "cropped_frames_version": 1,
        "frame_count": frame_count,
        "model_version": "builtin-0123abcd",
        "checkpoint_sha256": "ab" * 32,
        "precision": Precision.FLOAT32,
        "layout_sha256": "cd" * 32,
        "priority": Priority.HIGH,
        **changes,
    }


def request(number: int, **changes: Any) -> RequestRef:
    values: dict[str, Any] = {
        "event_id": f"event-{number}",
        "source_topic": "video.encoded",
        "source_partition": 0,
        "source_offset": number,
    }
    return RequestRef(request_id=UUID(int=1000 + number), **values | changes)


def work(span: int = 0, **changes: Any) -> Work:
    return Work(**pins(**changes), span=span)


def started(attempt: int = 1, frame_count: int = 1026, **changes: Any) -> RunStarted:
    """The beginning of the run; request ``100 + attempt`` requested this attempt."""
    values: dict[str, Any] = {
        "request": request(100 + attempt),
        "requested_at": MOMENT,
        "deadline_seconds": 3600,
        "untaken_seconds": None,
        "estimated_cost_usd": 0.01,
        "gpu_usd_per_hour": 1.1,
        "model_checkpoint_path": "builtin/builtin.safetensors",
    }
    own = {name: changes.pop(name) for name in list(changes) if name in values}
    return RunStarted(**pins(attempt, frame_count, **changes), **values | own)


def joined(number: int, attempt: int = 1) -> RunJoined:
    return RunJoined(run_id=RUN, attempt=attempt, request=request(number))


def taken(span: int, attempt: int = 1, second: int = 0) -> SpanTaken:
    return SpanTaken(run_id=RUN, attempt=attempt, span=span, worker="w:1", taken_at=MOMENT + timedelta(seconds=second))


def probabilities(span: int, frame_count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng((seed, span))
    return rng.dirichlet(np.full(5, 0.3), size=(plan_span(span, frame_count).pair_count, 2)).astype(np.float32)


def done(span: int, attempt: int = 1, frame_count: int = 1026, size: tuple[int, int] = (402, 28), values=None, **changes: Any) -> SpanDone:
    """A span's result; without ``values`` it has no probabilities, which the fold does not read."""
    fields: dict[str, Any] = {
        "worker": f"w:{span}",
        "done_at": MOMENT + timedelta(seconds=10 + span),
        "frame_width": size[0],
        "frame_height": size[1],
        "device": "cpu",
        "engine": {"torch": "2.9.0", "batch_size": "32"},
        "gpu_seconds": 0.5 + span,
        "span_seconds": 1.5,
        "probabilities": "" if values is None else base64.b64encode(np.asarray(values, "<f4").tobytes()).decode(),
    }
    own = {name: changes.pop(name) for name in list(changes) if name in fields}
    return SpanDone(**pins(attempt, frame_count, **changes), span=span, **fields | own)


def failed(span: int, attempt: int = 1, *, final: bool) -> SpanFailed:
    return SpanFailed(run_id=RUN, attempt=attempt, span=span, worker="w:1", failed_at=MOMENT, final=final, error="it broke")


def deadline(attempt: int = 1) -> DeadlinePassed:
    return DeadlinePassed(run_id=RUN, attempt=attempt, passed_at=MOMENT)


def cancelled(attempt: int = 1) -> RunCancelled:
    return RunCancelled(run_id=RUN, attempt=attempt, reason="not wanted", cancelled_at=MOMENT)


def finished(outcome: Outcome, numbers: list[int], attempt: int = 1) -> RunFinished:
    return RunFinished(run_id=RUN, attempt=attempt, outcome=outcome, answered=[UUID(int=1000 + number) for number in numbers])


Log = list[LogRecord]
