"""Plain values for admission: the request to the database, its limits, and the answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from core.types import Priority, RejectionType


class Decision(StrEnum):
    """The decision about a request. Every decision but ``recheck`` is stored and returned again for a repeated request."""

    RUN = "run"
    """Start this attempt of the run: ``run_started``, then its spans."""
    JOIN = "join"
    """The run is in flight, and its outcome will answer this request as well."""
    FOUND = "found"
    """A finished run answers the request."""
    REJECTED = "rejected"
    RECHECK = "recheck"
    """Nothing was written: a run row exists that the caller has not verified. Verify its object and repeat the call."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a request is rejected. ``message`` gives the value, the limit and the setting that changes it."""

    type: RejectionType
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRequest:
    """The values needed to decide about one ``video.encoded`` record and to answer it.

    Attributes:
        run_id, cropped_frames_version, model_version, frame_count: None only with a ``rejection``, if the record did not
            contain them in a usable form.
        rejection: the result of the caller's own checks; stored as given.
        found_run: a finished run whose object the caller has verified. Must contain ``run_id``; everything else (key, hash,
            counts) is stored and returned with the answer, so that a repeat does not need the object.
        gone_run_id: a run whose object no longer exists, so its row does not count.
    """

    request_id: UUID
    tenant_id: UUID
    video_id: UUID
    run_id: UUID | None
    cropped_frames_version: int | None
    model_version: str | None
    frame_count: int | None
    priority: Priority
    force: bool
    event_id: str | None
    replay_id: str | None
    source_topic: str
    source_partition: int
    source_offset: int
    estimated_cost_usd: float | None
    rejection: Rejection | None = None
    found_run: Mapping[str, Any] | None = None
    gone_run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionLimits:
    """The limits that only the database can check, because they count admitted jobs."""

    rate_limit_seconds: int
    max_high_jobs_per_hour: int
    max_high_jobs_per_hour_tenant: int
    queue_limit: int
    queue_limit_tenant: int
    deadline_high_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionAnswer:
    """The decision and its details.

    Attributes:
        run_id: the run that answers the request: its own, the one found, or for ``recheck`` the one to verify.
        attempt: set for ``run`` and ``join``.
        rejection: set for ``rejected``.
        found_run: set for ``found``, as passed by the caller when the decision was made.
        recorded: False if a rejection has no row, because the database does not know the video.
        repeated: the decision was stored by an earlier call and has been counted already.
    """

    decision: Decision
    run_id: str | None
    attempt: int | None
    rejection: Rejection | None
    found_run: Mapping[str, Any] | None
    repeated: bool
    recorded: bool = True
