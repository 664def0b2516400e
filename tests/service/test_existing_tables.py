"""A whole request on a database that already had the web application's tables and rows of several years."""

import asyncio
import sys
from uuid import uuid4

import psycopg
import pytest

from tests.service.installation import Installation
from tests.service.test_repeats import (  # noqa: F401 - run here, too
    test_a_forced_run_beside_an_old_one,
    test_a_request_after_the_run,
    test_a_request_while_the_run_is_in_flight,
    test_a_run_whose_object_is_gone,
    test_the_same_event_three_times,
    test_three_requests_at_once,
)
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings(existing_schema: str) -> dict[str, str]:
    return {"SUPABASE_SCHEMA": existing_schema, "EXTENTS_RATE_LIMIT_SECONDS": "0"}


async def test_a_broken_chunk_fails_the_run_and_its_job(running: Installation) -> None:
    """A failed run has its job, its event and its dead letter there too."""
    broken = video(514).with_chunk("modulo_1/chunk_0000000001.webm", b"this is no film")
    _, outcome = await running.run(broken)
    assert outcome.name == "inference.failed"
    await running.verify_at_rest()


async def test_a_rejection_has_its_row(running: Installation) -> None:
    """A rejected request, and a run without a chunk, have their rows in narrower columns."""
    video_id = await running.add(video(2))
    for frame_count, kind in ((2**31 - 1, "frame_count_exceeded"), (900, "validation_failed")):
        outcome = await running.ledger.outcome(await running.submit(video_id, frame_count))
        row = await running.verifier.rejection(outcome.body["request_id"])
        assert row is not None
        assert (outcome.body["rejection_type"], row["rejection_type"]) == (kind, kind)
    await running.verify_at_rest()


async def test_a_video_deleted_in_flight_fails_its_run(running: Installation) -> None:
    """If the web application deletes a video during its run, the run fails with that reason, and others continue."""
    video_id = await running.add(video(514))
    published = await running.submit(video_id, 514)
    await running.ledger.until(
        "a run started", lambda: any(str(video_id).encode() in r.value for r in running.ledger.records["inference.results"])
    )
    with psycopg.connect(running.verifier.dsn) as connection:
        connection.execute(f"delete from {running.verifier.schema}.videos where id = %s", [video_id])
    outcome = await running.ledger.outcome(published)
    assert (outcome.name, "video_id" in outcome.body["reason"]) == ("inference.failed", True)
    assert (await running.run(video(2)))[1].name == "inference.completed"


async def test_an_unknown_video_is_rejected_with_its_ids(running: Installation) -> None:
    """The event names request and video, the record is a dead letter, ``submit --watch`` shows the outcome, and the next one is handled."""
    video_id = uuid4()
    await video(2).upload(running.store, running.keys, running.tenant_id, video_id)
    published = await running.submit(video_id, 2)
    outcome = await running.ledger.outcome(published)
    assert (outcome.name, outcome.body["rejection_type"]) == ("inference.rejected", "validation_failed")
    assert (outcome.body["request_id"], outcome.body["video_id"]) == (str(published.request_id), str(video_id))
    assert f"the database does not know video {video_id}" in outcome.body["message"]
    await running.ledger.until("its dead letter", lambda: _letter(running, published))
    assert dict(_letter(running, published).headers)["reason"] == b"unknown_video"

    ids = ("--tenant-id", str(running.tenant_id), "--video-id", str(video_id))
    watching = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "submit", *ids, "--frame-count", "2", "--watch", "--timeout", "120"),
        stdout=asyncio.subprocess.PIPE,
        env={**running.processes.environment},
    )
    output, _ = await watching.communicate()
    assert watching.returncode == 3
    assert b"does not know video" in output
    assert (await running.run(video(2)))[1].name == "inference.completed"


def _letter(service: Installation, published):
    place = f"{published.topic}/{published.partition}/{published.offset}".encode()
    return next((letter for letter in service.ledger.records["inference.dead-letter"] if dict(letter.headers)["origin"] == place), None)
