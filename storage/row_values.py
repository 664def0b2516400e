"""Converts between the values of ``core`` and the JSON of the database's functions and rows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from core.admission import AdmissionAnswer, AdmissionLimits, AdmissionRequest, Decision, Rejection
from core.moments import parse_moment
from core.redaction import redact
from core.runs import FinishedRun, RunRow, StoredRun
from core.types import RejectionType

INTEGER_MAX: Final = 2**31 - 1
REAL_MAX: Final = 3.4e38


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """The state of a run, as the web application shows it."""

    run_id: UUID
    attempt: int
    request_id: UUID
    tenant_id: UUID
    video_id: UUID
    cropped_frames_version: int
    model_version: str
    status: str
    priority: str
    pairs_total: int
    pairs_done: int
    started_at: datetime | None
    completed_at: datetime | None
    error_message: str | None
    run_row_id: UUID | None
    gpu_seconds: float | None
    estimated_cost_usd: float | None
    created_at: datetime | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionRow:
    """A request that was rejected, and whether a user has acknowledged it."""

    request_id: UUID
    tenant_id: UUID
    video_id: UUID
    type: RejectionType
    message: str
    frame_count: int | None
    estimated_cost_usd: float | None
    created_at: datetime | None
    acknowledged: bool


def admission_values(request: AdmissionRequest) -> dict[str, Any]:
    """Convert a request. A number beyond its column's range becomes null: only a rejected record has one, and rejecting it must succeed."""
    return {
        "request_id": str(request.request_id),
        "run_id": _text(request.run_id),
        "tenant_id": str(request.tenant_id),
        "video_id": str(request.video_id),
        "cropped_frames_version": _fitting(request.cropped_frames_version, INTEGER_MAX),
        "model_version": _text(request.model_version),
        "frame_count": _fitting(request.frame_count, INTEGER_MAX),
        "pairs_total": None if request.frame_count is None else _fitting(request.frame_count - 1, INTEGER_MAX),
        "priority": request.priority.value,
        "force": request.force,
        "event_id": _text(request.event_id),
        "replay_id": _text(request.replay_id),
        "source_topic": request.source_topic,
        "source_partition": request.source_partition,
        "source_offset": request.source_offset,
        "estimated_cost_usd": _real(request.estimated_cost_usd),
        "rejection": None
        if request.rejection is None
        else {"type": request.rejection.type.value, "message": _text(redact(request.rejection.message))},
        "found_run": None if request.found_run is None else dict(request.found_run),
        "gone_run_id": _text(request.gone_run_id),
    }


def limit_values(limits: AdmissionLimits) -> dict[str, int]:
    return asdict(limits)


def admission_answer(values: Mapping[str, Any]) -> AdmissionAnswer:
    rejection = values.get("rejection")
    return AdmissionAnswer(
        decision=Decision(values["decision"]),
        run_id=values.get("run_id"),
        attempt=values.get("attempt"),
        rejection=None if rejection is None else Rejection(RejectionType(rejection["type"]), rejection["message"]),
        found_run=values.get("found_run"),
        repeated=values["repeated"],
        recorded=values.get("recorded", True),
    )


def run_values(run: FinishedRun, stored: StoredRun) -> dict[str, Any]:
    return {
        "run_id": str(run.run_id),
        "attempt": run.attempt,
        "request_id": str(run.request_id),
        "tenant_id": str(run.tenant_id),
        "video_id": str(run.video_id),
        "cropped_frames_version": run.cropped_frames_version,
        "model_version": run.model_version,
        "model_checkpoint_path": run.model_checkpoint_path,
        "storage_key": stored.storage_key,
        "size_bytes": stored.size_bytes,
        "sha256": stored.sha256,
        "total_pairs": run.pairs,
        "processing_time_seconds": run.processing_time_seconds,
        "gpu_seconds": run.gpu_seconds,
        "started_at": run.started_at.isoformat(),
        "completed_at": run.completed_at.isoformat(),
    }


def run_row(values: Mapping[str, Any]) -> RunRow:
    return RunRow(
        id=UUID(values["id"]),
        run_id=values["run_id"],
        tenant_id=UUID(values["tenant_id"]),
        video_id=UUID(values["video_id"]),
        cropped_frames_version=values["cropped_frames_version"],
        model_version=values["model_version"],
        model_checkpoint_path=values["model_checkpoint_path"],
        storage_key=values["wasabi_storage_key"],
        size_bytes=values["file_size_bytes"],
        sha256=values["sha256"],
        total_pairs=values["total_pairs"],
        processing_time_seconds=values["processing_time_seconds"],
        started_at=parse_moment(values["started_at"]),
        completed_at=parse_moment(values["completed_at"]),
        request_id=_uuid(values["request_id"]),
    )


def job_row(values: Mapping[str, Any]) -> JobRow:
    return JobRow(
        run_id=UUID(values["run_id"]),
        attempt=values["attempt"],
        request_id=UUID(values["request_id"]),
        tenant_id=UUID(values["tenant_id"]),
        video_id=UUID(values["video_id"]),
        cropped_frames_version=values["cropped_frames_version"],
        model_version=values["model_version"],
        status=values["status"],
        priority=values["priority"],
        pairs_total=values["pairs_total"],
        pairs_done=values["pairs_done"],
        started_at=_moment(values["started_at"]),
        completed_at=_moment(values["completed_at"]),
        error_message=values["error_message"],
        run_row_id=_uuid(values["inference_run_id"]),
        gpu_seconds=values["gpu_seconds"],
        estimated_cost_usd=values["estimated_cost_usd"],
        created_at=_moment(values["created_at"]),
        updated_at=parse_moment(values["updated_at"]),
    )


def rejection_row(values: Mapping[str, Any]) -> RejectionRow:
    return RejectionRow(
        request_id=UUID(values["id"]),
        tenant_id=UUID(values["tenant_id"]),
        video_id=UUID(values["video_id"]),
        type=RejectionType(values["rejection_type"]),
        message=values["rejection_message"],
        frame_count=values["frame_count"],
        estimated_cost_usd=values["estimated_cost_usd"],
        created_at=_moment(values["created_at"]),
        acknowledged=bool(values["acknowledged"]),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value).replace("\0", "\ufffd")  # PostgreSQL's text holds every character except this one


def _fitting(value: int | None, limit: int) -> int | None:
    return value if value is not None and -limit <= value <= limit else None


def _real(value: float | None) -> float | None:
    """Fit a column of single precision, which rejects values that round to infinity, and nonzero values that round to zero."""
    if value is None or not abs(value) <= REAL_MAX:
        return None
    return value if abs(value) >= 1 / REAL_MAX else 0.0


def _uuid(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_moment(text)
