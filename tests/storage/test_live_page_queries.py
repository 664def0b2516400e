"""The live page's calls to the database: tables, replays, and the activity of the last hour."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from core.admission import AdmissionRequest
from core.types import Priority
from storage.replays import Replays
from tests.storage.admission_requests import complete, limits, request

STEPS = 6


@pytest.fixture
async def replays(rows_config) -> AsyncIterator[Replays]:
    async with Replays(rows_config) as opened:
        yield opened


async def admitted(rows, **changes: object) -> AdmissionRequest:
    made = request(**changes)
    await rows.admit(made, limits())
    return made


async def test_tables_hold_what_is_unfinished_and_what_has_ended(rows, replays) -> None:
    """Running jobs come before queued ones, high priority before low; what has ended is in a table of its own."""
    low, high, running, ended = [await admitted(rows, priority=priority) for priority in (Priority.LOW, *3 * [Priority.HIGH])]
    await rows.record_progress(running.run_id, 1, 300, datetime.now(UTC))
    await complete(rows, ended)
    now = datetime.now(UTC)
    page = await replays.live_page(now - timedelta(hours=1), now, 1_000)
    own = {str(each.run_id) for each in (low, high, running, ended)}
    shown = [row["run_id"] for row in page["in_progress"] if row["run_id"] in own]
    assert shown == [str(running.run_id), str(high.run_id), str(low.run_id)]
    assert [row["run_id"] for row in page["recent"] if row["run_id"] in own] == [str(ended.run_id)]
    assert page["overview"]["completed"] >= 1
    assert all(not row["acknowledged"] for row in page["rejections"])
    assert len((await replays.live_page(now, now, 1))["in_progress"]) == 1


async def test_a_replay_that_ended_is_shown_for_a_while(replays) -> None:
    """Unfinished replays are listed with their progress, and ended ones since the given time."""
    name, began = f"r-{uuid4().hex[:8]}", datetime.now(UTC)
    await replays.create({"replay_id": name, "source": {"items": 0}, "model_version": "m"}, [])
    (row,) = [row for row in await replays.live_replays(began) if row["replay_id"] == name]
    assert (row["state"], row["progress"]["items"]) == ("planned", 0)
    assert await replays.cancel(name, "no more")
    assert not await replays.cancel(name, "again")
    assert name in {row["replay_id"] for row in await replays.live_replays(began)}
    assert name not in {row["replay_id"] for row in await replays.live_replays(datetime.now(UTC) + timedelta(minutes=1))}


async def test_activity_adds_up_to_the_pairs_that_were_computed(rows, replays) -> None:
    """A run's pairs are spread evenly from its start to its end, and what waits falls by as many."""
    first = datetime.now(UTC)

    async def activity() -> list[dict]:
        return await replays.activity(first, first + timedelta(seconds=60), STEPS)

    async def added() -> list[dict]:
        pairs = zip(await activity(), before, strict=True)
        return [{name: row[name] - old[name] for name in row if name != "at"} for row, old in pairs]

    before = await activity()
    run = await admitted(rows)
    waiting = await added()
    assert [row["high_runs"] for row in waiting] == STEPS * [1]
    assert [row["high_pairs"] for row in waiting] == pytest.approx(STEPS * [600])
    assert [row["pairs_per_second"] for row in waiting] == STEPS * [0]
    await complete(rows, run)
    started, ended = first + timedelta(seconds=10), first + timedelta(seconds=40)
    await replays.update("jobs", {"started_at": started.isoformat(), "completed_at": ended.isoformat()}, {"run_id": str(run.run_id)})
    done = await added()
    pairs = (await replays.job(str(run.run_id)))["pairs_done"]
    assert [row["pairs_per_second"] * 30 for row in done] == pytest.approx([0, pairs, pairs, pairs, 0, 0])
    assert [row["high_runs"] for row in done] == [1, 1, 1, 0, 0, 0]
    total = (await replays.job(str(run.run_id)))["pairs_total"]
    assert [row["high_pairs"] for row in done] == pytest.approx([total, total * 2 / 3, total / 3, 0, 0, 0])


async def test_nothing_happened_is_an_hour_of_zeros(replays) -> None:
    """A stretch without jobs has every step, each with zeros."""
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    rows = await replays.activity(long_ago, long_ago + timedelta(minutes=6), STEPS)
    assert len(rows) == STEPS
    assert all(row["pairs_per_second"] == row["high_pairs"] == row["low_runs"] == 0 for row in rows)
