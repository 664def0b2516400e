"""Supabase's rows: the decision about a request, the state of a job, the row of a finished run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from core.admission import AdmissionAnswer, AdmissionLimits, AdmissionRequest
from core.errors import ConfigurationError
from core.redaction import redact
from core.runs import FinishedRun, RunRow, StoredRun
from core.types import Priority
from storage.database import Database
from storage.row_values import (
    JobRow,
    RejectionRow,
    admission_answer,
    admission_values,
    job_row,
    limit_values,
    rejection_row,
    run_row,
    run_values,
)

UNFINISHED: Final = ("queued", "running")

SCHEMA_VERSION: Final = 3
"""The lowest ``schema_version()`` of the migrations with which this code works."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The state of a finished run's rows.

    Attributes:
        run_row_id: the row of the run's video, version and model; None only for a ``stale`` run without one.
        outcome: ``owner``: the row is this run's. ``superseded``: it belongs to a run that was requested later, and stays
            that run's. ``stale``: a later attempt of this run has begun, and nothing was written.
    """

    run_row_id: UUID | None
    outcome: Literal["owner", "superseded", "stale"]


class Rows(Database):
    """The service's rows, through the service role. An async context manager that belongs to one event loop; its calls may overlap.

    Every call may be repeated without changing the effect of the first.
    """

    async def admit(self, request: AdmissionRequest, limits: AdmissionLimits) -> AdmissionAnswer:
        """Decide about a request once: a repeated call returns the stored decision, whatever its arguments."""
        answer = await self.call("admit_request", {"request": admission_values(request), "limits": limit_values(limits)})
        return admission_answer(answer)

    async def record_progress(self, run_id: UUID, attempt: int, pairs_done: int, started_at: datetime) -> None:
        """Record a run's progress. Late calls, and calls for another attempt than the current one, have no effect."""
        await self.call(
            "record_progress",
            {"run_id": str(run_id), "attempt": attempt, "pairs_done": pairs_done, "started_at": started_at.isoformat()},
        )

    async def complete_run(self, run: FinishedRun, stored: StoredRun) -> Completion:
        """Write the run's row and complete its job in one transaction, and then add it to the history of runs.

        If the stored file belongs to a later attempt (``stored.attempt``), the database also answers ``stale``.
        """
        values = run_values(run, stored)
        answer = await self.call("complete_run", {"run": values})
        if answer["outcome"] != "stale":
            added = {"precision": run.provenance.get("precision"), "provenance": dict(run.provenance)}
            await self.call("record_finished_run", {"run": {**values, **added}})
        row_id = answer["run_row_id"]
        return Completion(None if row_id is None else UUID(row_id), answer["outcome"])

    async def fail_run(self, run_id: UUID, attempt: int, message: str, completed_at: datetime) -> None:
        """Fail a run's job, unless it has finished or a later attempt has begun."""
        await self.call(
            "fail_run",
            {
                "run_id": str(run_id),
                "attempt": attempt,
                "message": redact(message).replace("\0", "\ufffd"),
                "completed_at": completed_at.isoformat(),
            },
        )

    async def record_worker_hours(self, hours: Sequence[Mapping[str, Any]]) -> None:
        """Record how long GPU workers were up: instance, day, worker, device, up_seconds. The greatest value of a day is kept."""
        await self.call("record_worker_hours", {"hours": list(hours)})

    async def find_run(self, tenant_id: UUID, video_id: UUID, version: int, model_version: str) -> RunRow | None:
        """Find the row of a video's finished run. The caller checks that its object exists."""
        rows = await self._select(
            "runs",
            {
                "tenant_id": str(tenant_id),
                "video_id": str(video_id),
                "cropped_frames_version": str(version),
                "model_version": model_version,
            },
        )
        return run_row(rows[0]) if rows else None

    async def find_run_by_id(self, run_id: str) -> RunRow | None:
        """Find the row of a run. Runs of the former service may have an id that is not a UUID."""
        rows = await self._select("runs", {"run_id": run_id})
        return run_row(rows[0]) if rows else None

    async def find_answer(self, request_id: UUID) -> AdmissionAnswer | None:
        """Find the stored decision about a request, for a sender that follows it; None if there is none yet."""
        rows = await self._select("requests", {"request_id": str(request_id)})
        return admission_answer({**rows[0]["answer"], "repeated": True}) if rows else None

    async def find_job(self, run_id: UUID) -> JobRow | None:
        rows = await self._select("jobs", {"run_id": str(run_id)})
        return job_row(rows[0]) if rows else None

    async def find_rejection(self, request_id: UUID) -> RejectionRow | None:
        rows = await self._select("rejections", {"id": str(request_id)})
        return rejection_row(rows[0]) if rows else None

    async def count_unfinished(self, priority: Priority) -> int:
        """Count queued and running jobs of this priority, except those of the former service (without run_id), which never end."""
        return await self.count(
            "jobs", lambda query: query.eq("priority", priority.value).in_("status", UNFINISHED).not_.is_("run_id", "null")
        )

    async def check(self) -> None:
        """Call a function that the migrations define and that only the service role may call.

        Raises:
            ConfigurationError: the key, schema or URL is wrong, or migrations are missing.
        """
        version = await self.call("schema_version", {})
        if version < SCHEMA_VERSION:
            raise ConfigurationError(
                f"schema {self._schema} has version {version}, but this service needs at least {SCHEMA_VERSION}; "
                "apply the migrations: extents migrations print"
            )

    async def try_everything(self) -> None:
        """Try everything that the service will do in the database, and roll it back. For checking a new installation.

        Raises:
            ConfigurationError: names everything that does not work.
        """
        await self.check()
        faults = await self.call("check_service", {})
        if faults:
            raise ConfigurationError(f"schema {self._schema}: {'; '.join(faults)}")
        for table in ("runs", "jobs", "rejections", "requests"):  # the service also reads these through the API
            await self._select(table, {"tenant_id": str(UUID(int=0))})

    async def _select(self, table: str, equal: Mapping[str, str]) -> list[dict[str, Any]]:
        return await self.page(table, lambda query: query.match(dict(equal)), (), 0, 1)
