"""Makes admission requests and limits for tests."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from core.admission import AdmissionLimits, AdmissionRequest
from core.identity import run_id
from core.types import Priority

WIDE = AdmissionLimits(
    rate_limit_seconds=600,
    max_high_jobs_per_hour=1_000_000,
    max_high_jobs_per_hour_tenant=1_000_000,
    queue_limit=1_000_000,
    queue_limit_tenant=1_000_000,
    deadline_high_seconds=3600,
)


def limits(**changes: int) -> AdmissionLimits:
    """Limits that nothing reaches but those given."""
    return replace(WIDE, **changes)


def request(tenant_id: UUID | None = None, video_id: UUID | None = None, **changes: Any) -> AdmissionRequest:
    """A new request for a video of 601 frames, whose run id follows from the rest."""
    values: dict[str, Any] = {
        "request_id": uuid4(),
        "tenant_id": tenant_id or uuid4(),
        "video_id": video_id or uuid4(),
        "cropped_frames_version": 1,
        "model_version": "builtin-0123abcd",
        "frame_count": 601,
        "priority": Priority.HIGH,
        "force": False,
        "event_id": None,
        "replay_id": None,
        "source_topic": "video.encoded",
        "source_partition": 2,
        "source_offset": 34,
        "estimated_cost_usd": 0.0018,
        **changes,
    }
    if "run_id" not in values:
        forced_by = values["request_id"] if values["force"] else None
        values["run_id"] = run_id(
            values["tenant_id"], values["video_id"], values["cropped_frames_version"], values["model_version"], forced_by
        )
    return AdmissionRequest(**values)
