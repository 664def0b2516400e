"""Makes admission requests and limits for tests, and sends them to the database."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from core.admission import AdmissionAnswer, AdmissionLimits, AdmissionRequest
from core.identity import run_id
from core.runs import FinishedRun, StoredRun
from core.types import Priority
from storage.row_values import admission_answer, admission_values, limit_values
from storage.rows import Rows
from tests.storage.finished_runs import finished_run

WIDE = AdmissionLimits(
    rate_limit_seconds=600,
    max_high_jobs_per_hour=1_000_000,
    max_high_jobs_per_hour_tenant=1_000_000,
    queue_limit=1_000_000,
    queue_limit_tenant=1_000_000,
    deadline_high_seconds=3600,
)


def limits(**changes: int) -> AdmissionLimits:
    """Return limits that nothing reaches, apart from those given."""
    return replace(WIDE, **changes)


def request(tenant_id: UUID | None = None, video_id: UUID | None = None, **changes: Any) -> AdmissionRequest:
    """Make a new request for a video of 601 frames, with the run id that follows from its other values."""
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


async def complete(rows: Rows, admitted: AdmissionRequest, attempt: int = 1) -> FinishedRun:
    """Complete an admitted run and write its rows."""
    assert admitted.run_id is not None
    run = finished_run(
        pairs=3,
        run_id=admitted.run_id,
        attempt=attempt,
        request_id=admitted.request_id,
        tenant_id=admitted.tenant_id,
        video_id=admitted.video_id,
        cropped_frames_version=admitted.cropped_frames_version,
        model_version=admitted.model_version,
    )
    await rows.complete_run(run, StoredRun(f"runs/{run.run_id}.db", 4096, f"{attempt:064x}", attempt, False))
    return run


async def admit(connection: psycopg.AsyncConnection, submitted: AdmissionRequest, allowed: AdmissionLimits) -> AdmissionAnswer:
    """Admit without PostgREST, for a schema that it does not serve."""
    values = (Jsonb(admission_values(submitted)), Jsonb(limit_values(allowed)))
    row = await (await connection.execute("select admit_request(%s, %s)", values)).fetchone()
    assert row is not None
    return admission_answer(row[0])
