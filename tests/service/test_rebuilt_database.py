"""The database is lost and rebuilt from its migrations, while Kafka keeps the log and the store its objects."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql
from psycopg.rows import dict_row

from core.types import Priority
from tests.service.installation import Installation
from tests.service.terminal import Terminal
from tests.service.videos import VERSION, video

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = 40
BROKEN = "modulo_1/chunk_0000000001.webm"


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"EXTENTS_RATE_LIMIT_SECONDS": "0"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(service: Installation) -> Installation:
    service.processes.start("coordinator")
    service.processes.start("gpu")
    return service


async def forget(service: Installation, video_id: object) -> None:
    """Delete every row about a video, as if the database had been rebuilt."""
    async with await psycopg.AsyncConnection.connect(service.verifier.dsn, autocommit=True) as connection:
        for table in ("jobs", "runs", "requests", "rejections"):
            name = sql.Identifier(service.verifier.schema, f"caption_frame_extents_inference_{table}")
            await connection.execute(sql.SQL("delete from {} where video_id = %s").format(name), [video_id])


KEPT = {
    "runs": ("run_id", "request_id", "video_id", "model_version", "wasabi_storage_key", "sha256", "total_pairs", "completed_at"),
    "run_history": ("run_id", "request_id", "video_id", "sha256", "gpu_seconds", "precision", "provenance", "superseded_by"),
    "jobs": ("run_id", "attempt", "request_id", "replay_id", "video_id", "model_version", "status", "priority", "error_message"),
    "requests": ("request_id", "video_id", "run_id", "attempt", "decision", "priority", "event_id", "source_partition", "source_offset"),
    "rejections": ("id", "video_id", "rejection_type", "rejection_message", "frame_count", "priority", "model_version", "acknowledged"),
}
"""The columns that a rebuilt registry must have again; the database computes the others."""


async def registry_of(service: Installation, *, forgotten: bool = False) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of the installation's tenant.

    Args:
        forgotten: delete them.
    """
    tables = {}
    async with await psycopg.AsyncConnection.connect(service.verifier.dsn, autocommit=True, row_factory=dict_row) as connection:
        for table, columns in KEPT.items():
            name = sql.Identifier(service.verifier.schema, f"caption_frame_extents_inference_{table}")
            select = sql.SQL("select {} from {} where tenant_id = %s order by 1").format(
                sql.SQL(", ").join(map(sql.Identifier, columns)), name
            )
            tables[table] = await (await connection.execute(select, [service.tenant_id])).fetchall()
            if forgotten:
                await connection.execute(sql.SQL("delete from {} where tenant_id = %s").format(name), [service.tenant_id])
    return tables


async def job_of(service: Installation, run_id: str) -> tuple[str, str | None]:
    async with await psycopg.AsyncConnection.connect(service.verifier.dsn) as connection:
        name = sql.Identifier(service.verifier.schema, "caption_frame_extents_inference_jobs")
        cursor = await connection.execute(sql.SQL("select status, error_message from {} where run_id = %s").format(name), [run_id])
        row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def test_a_finished_run_is_answered_and_its_rows_are_restored(running: Installation) -> None:
    """A new request for the video gets the result from the store, and the rows of run and job are restored."""
    video_id = await running.add(video(FRAMES))
    before = await running.ledger.outcome(await running.submit(video_id, FRAMES))
    assert before.name == "inference.completed"
    await running.ledger.finished(before.body["run_id"])
    await forget(running, video_id)
    after = await running.ledger.outcome(await running.submit(video_id, FRAMES))
    assert (after.name, after.body["deduplicated"]) == ("inference.completed", True)
    for name in ("run_id", "storage_key", "sha256", "size_bytes", "pairs"):
        assert after.body[name] == before.body[name]
    assert await job_of(running, after.body["run_id"]) == ("completed", None)
    assert await running.verifier.run_row(after.body["run_id"]) is not None


async def test_a_failed_run_is_answered_and_can_be_tried_again(running: Installation) -> None:
    """A new request gets the reason from the log, and its job does not stay queued; the next request starts a new attempt."""
    film = video(FRAMES)
    video_id = await running.add(film.with_chunk(BROKEN, b"this is no film"))
    before = await running.ledger.outcome(await running.submit(video_id, FRAMES))
    assert before.name == "inference.failed"
    run_id = before.body["run_id"]
    await running.ledger.finished(run_id)
    await forget(running, video_id)
    after = await running.ledger.outcome(await running.submit(video_id, FRAMES))
    assert (after.name, after.body["reason"]) == ("inference.failed", before.body["reason"])
    status, message = await job_of(running, run_id)
    assert (status, message) == ("failed", before.body["reason"])
    await running.store.put(running.keys.chunk(running.tenant_id, video_id, VERSION, BROKEN), film.chunks[BROKEN])
    again = await running.ledger.outcome(await running.submit(video_id, FRAMES))
    assert (again.name, again.body["attempt"]) == ("inference.completed", 2)


async def test_the_registry_comes_back_from_store_and_topics(running: Installation, tmp_path: Path) -> None:
    """Runs, what superseded them, failed jobs, rejections and all decisions are restored; a repetition changes nothing."""
    terminal = Terminal(running, tmp_path)
    running.tenant_id = uuid4()  # other tests lost their rows before
    _, first = await running.run(video(FRAMES))
    video_id = UUID(first.body["video_id"])
    await running.ledger.outcome(await running.submit(video_id, FRAMES))
    await running.ledger.outcome(await running.submit(video_id, FRAMES, force=True, priority=Priority.LOW))
    await running.run(video(FRAMES).with_chunk(BROKEN, b"this is no film"))
    await running.run(video(FRAMES), cropped_frames_version=7)
    await running.settle()
    before = await registry_of(running, forgotten=True)
    assert {name: len(rows) > 0 for name, rows in before.items()} == dict.fromkeys(KEPT, True)
    assert {row["status"] for row in before["jobs"]} == {"completed", "failed"}
    assert {row["decision"] for row in before["requests"]} == {"run", "found", "rejected"}
    tenant = ("--tenant", str(running.tenant_id))
    looked = await terminal.json("rebuild-registry", *tenant, "--dry-run")
    assert len(looked["differing"]) == len(before["run_history"])
    assert {name: looked[f"missing_{name}"] for name in ("requests", "rejections", "jobs")} == {
        name: len(before[name]) for name in ("requests", "rejections", "jobs")
    }
    await terminal("rebuild-registry", *tenant, "--yes")
    after = await registry_of(running)
    for row in (*before["requests"], *after["requests"]):
        if row["decision"] == "rejected":
            row["run_id"] = None  # the run that it would have started: no event names it
    for row in (*before["run_history"], *after["run_history"]):
        del row["provenance"]["gpu_seconds"]  # the file has more digits
    for table, rows in before.items():
        assert [row for row in after[table] if row not in rows] == [row for row in rows if row not in after[table]] == [], table
    again = await terminal.json("rebuild-registry", *tenant, "--yes")
    assert (again["differing"], again["missing_requests"], again["missing_rejections"], again["missing_jobs"]) == ([], 0, 0, 0)
    repeated = await running.ledger.outcome(await running.submit(video_id, FRAMES))
    assert (repeated.name, repeated.body["deduplicated"]) == ("inference.completed", True)
