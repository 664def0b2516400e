"""The question put to the database at the door, its limits, and the answer, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from core.types import Priority, RejectionType


class Decision(StrEnum):
    """What becomes of a request. All but ``recheck`` are stored with it and given again, whatever is asked then."""

    RUN = "run"
    """Start this attempt of the run: ``run_started``, then its spans."""
    JOIN = "join"
    """The run is in flight: its outcome answers this request too."""
    FOUND = "found"
    """A finished run answers."""
    REJECTED = "rejected"
    RECHECK = "recheck"
    """Nothing was written: there is a run row that the caller has not looked at. Verify its object and ask again."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a request is refused. ``message`` says what was found, what the limit is and which setting changes it."""

    type: RejectionType
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRequest:
    """One ``video.encoded`` record, as far as deciding about it and answering it needs.

    Attributes:
        run_id, cropped_frames_version, model_version, frame_count: None only beside a ``rejection``, where the record
            did not hold them in a usable form.
        rejection: found by the caller's own checks; it is stored as given.
        found_run: the caller has verified the object of this finished run. Must hold ``run_id``; whatever else it holds
            (key, hash, counts) is stored and comes back with the answer, so that a repeat needs no object.
        gone_run_id: the caller has seen that this run's row has no object any more, so it does not count.
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
    """The limits that only the database can check, since they count what others have been promised."""

    rate_limit_seconds: int
    max_high_jobs_per_hour: int
    max_high_jobs_per_hour_tenant: int
    queue_limit: int
    queue_limit_tenant: int
    deadline_high_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionAnswer:
    """The decision, and what goes with it.

    Attributes:
        run_id: the run that answers the request: its own, the one found, or for ``recheck`` the one to verify.
        attempt: of ``run`` and ``join``.
        rejection: of ``rejected``.
        found_run: of ``found``, as the caller gave it when the decision was taken.
        repeated: the decision was stored before this call; it has been counted already.
    """

    decision: Decision
    run_id: str | None
    attempt: int | None
    rejection: Rejection | None
    found_run: Mapping[str, Any] | None
    repeated: bool
