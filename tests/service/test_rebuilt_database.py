"""The database was lost and rebuilt from its migrations, while Kafka kept the log and the store its objects."""

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from tests.service.installation import Installation
from tests.service.videos import VERSION, video

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = 40
BROKEN = "modulo_1/chunk_0000000001.webm"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(service: Installation) -> Installation:
    service.processes.start("coordinator")
    service.processes.start("gpu")
    return service


async def forget(service: Installation, video_id: object) -> None:
    """Delete every row about a video, as a rebuilt database has none."""
    async with await psycopg.AsyncConnection.connect(service.verifier.dsn, autocommit=True) as connection:
        for table in ("jobs", "runs", "requests", "rejections"):
            name = sql.Identifier(service.verifier.schema, f"caption_frame_extents_inference_{table}")
            await connection.execute(sql.SQL("delete from {} where video_id = %s").format(name), [video_id])


async def job_of(service: Installation, run_id: str) -> tuple[str, str | None]:
    async with await psycopg.AsyncConnection.connect(service.verifier.dsn) as connection:
        name = sql.Identifier(service.verifier.schema, "caption_frame_extents_inference_jobs")
        cursor = await connection.execute(sql.SQL("select status, error_message from {} where run_id = %s").format(name), [run_id])
        row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def test_a_finished_run_is_answered_and_its_rows_are_restored(running: Installation) -> None:
    """A new request for the video gets the result that is in the store; run row and job are there again."""
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
    """A new request gets the reason from the log, and its job does not stay queued; the one after it is a new attempt."""
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
