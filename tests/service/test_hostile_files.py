"""A running coordinator refuses hostile layouts and old run databases, stays within its memory, and continues."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio

from storage.run_db_reader import MAX_RUN_DB_BYTES
from tests.service.installation import Installation
from tests.service.old_runs import insert_old_run
from tests.service.processes import Worker
from tests.service.videos import video
from tests.storage.test_layouts import CRAFTED, LARGE, ROW, database
from tests.storage.test_run_db import HOSTILE, OLD, changed

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = 40
MEMORY_BYTES = 1_000_000_000
"""The memory that hostile files may add: the coordinator reads one layout of the largest size at a time, in three copies."""

LAYOUTS = {
    **{name: database(table=statement) for name, statement in CRAFTED.items()},
    "edges at the end of all numbers": database(ROW | {"crop_right": 2**63 - 1, "crop_bottom": 2**63 - 1}),
    "edges that are crossed": database(ROW | {"crop_left": 350, "crop_right": 50}),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def coordinator(service: Installation):
    """A coordinator and a GPU worker, as users start them; at the end the same processes still run, and everything is done."""
    workers = [service.processes.command("coordinator"), service.processes.command("gpu")]
    await workers[0].ready()
    before = peak_bytes(workers[0])
    yield workers[0]
    await service.verify_at_rest()
    assert [worker.status for worker in workers] == [None, None], service.processes.tails()
    assert peak_bytes(workers[0]) - before < MEMORY_BYTES


def peak_bytes(worker: Worker) -> int:
    """The maximum memory of a process so far."""
    status = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in status if line.startswith("VmHWM:")).split()[1])


async def good_video_completes(service: Installation) -> None:
    assert (await service.run(video(FRAMES)))[1].name == "inference.completed"


async def test_crafted_layouts_are_rejected(service: Installation, coordinator: Worker) -> None:
    """Each rejection is an event and a row, with the ids of request and video and the layout's key, even if all come at once."""
    requests = {}
    for name, layout in LAYOUTS.items():
        video_id = await service.add(replace(video(FRAMES), layout=layout))
        requests[name] = video_id, await service.submit(video_id, FRAMES)
    for name, (video_id, published) in requests.items():
        await expect_rejection(service, video_id, published.request_id, name)
    await good_video_completes(service)


async def test_layouts_of_hundreds_of_megabytes_are_rejected(service: Installation, coordinator: Worker) -> None:
    """Several of them at once take no more memory than one, and other videos complete."""
    layout = database(ROW | LARGE["a blob for a number"])
    requests = []
    for _ in range(3):
        video_id = await service.add(replace(video(FRAMES), layout=layout))
        requests.append((video_id, await service.submit(video_id, FRAMES)))
    await good_video_completes(service)
    for video_id, published in requests:
        await expect_rejection(service, video_id, published.request_id, "crop_left is blob")


async def expect_rejection(service: Installation, video_id: UUID, request_id: UUID, about: str) -> None:
    body = await service.ledger.until(f"the rejection of {about}", lambda: rejection_of(service, request_id))
    assert body["rejection_type"] == "validation_failed"
    assert (body["tenant_id"], body["video_id"]) == (str(service.tenant_id), str(video_id))
    assert f"{video_id}/layout.db" in body["message"]
    assert len(body["message"]) < 500
    row = await service.verifier.rejection(str(request_id))
    assert row is not None
    assert (row["rejection_type"], row["rejection_message"]) == ("validation_failed", body["message"])


def rejection_of(service: Installation, request_id: UUID) -> dict | None:
    bodies = (outcome.body for outcome in service.ledger.outcomes if outcome.name == "inference.rejected" and outcome.answers(request_id))
    return next(bodies, None)


async def test_crafted_databases_of_old_runs_do_not_count(service: Installation, coordinator: Worker) -> None:
    """The video is computed again if an old row's file is not a run, has no pairs or claims 10^13, or contains a view."""
    _, outcome = await service.run(video(FRAMES))
    sound = await service.store.get(outcome.body["storage_key"], MAX_RUN_DB_BYTES)
    files = {name: changed(sound, "PRAGMA ignore_check_constraints = ON", *OLD, *statements) for name, statements in HOSTILE.items()}
    files["no database"] = b"no database" * 1000
    files["a value of 200 MB"] = with_large_value(changed(sound, *OLD))
    requests = {}
    for name, data in files.items():
        video_id = await service.add(video(FRAMES))
        key = f"{service.tenant_id}/{video_id}/old.db"
        await service.store.put(key, data)
        await insert_old_run(service, video_id, key, FRAMES)
        requests[name] = await service.submit(video_id, FRAMES)
    for name, published in requests.items():
        computed = await service.ledger.outcome(published)
        assert (computed.name, computed.body["deduplicated"]) == ("inference.completed", False), name
    await good_video_completes(service)


async def test_a_sound_database_of_an_old_run_answers(service: Installation, coordinator: Worker) -> None:
    """A valid old run is found, so the other files were refused because of their content."""
    _, outcome = await service.run(video(FRAMES))
    sound = await service.store.get(outcome.body["storage_key"], MAX_RUN_DB_BYTES)
    video_id = await service.add(video(FRAMES))
    key = f"{service.tenant_id}/{video_id}/old.db"
    await service.store.put(key, changed(sound, *OLD))
    await insert_old_run(service, video_id, key, FRAMES)
    repeated = await service.ledger.outcome(await service.submit(video_id, FRAMES))
    assert (repeated.name, repeated.body["deduplicated"], repeated.body["storage_key"]) == ("inference.completed", True, key)


def with_large_value(data: bytes) -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(data)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE pair_results SET forward_confidence = zeroblob(200000000) WHERE frame1_index = 3")
        connection.commit()
        return connection.serialize()
