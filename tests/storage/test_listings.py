"""The lists that commands and pages show, read through the database's API."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

import storage.database
from core.admission import Rejection
from core.types import Priority, RejectionType
from storage.listings import Filter, Listings
from tests.storage.admission_requests import complete, limits, request


@pytest.fixture
async def listings(rows_config) -> AsyncIterator[Listings]:
    async with Listings(rows_config) as opened:
        yield opened


async def test_jobs_are_listed_newest_first_and_by_what_is_asked(rows, listings) -> None:
    """Each filter keeps the jobs that match it, and a limit keeps the newest."""
    tenant = uuid4()
    made = [request(tenant, priority=priority, replay_id=name) for priority, name in ((Priority.HIGH, None), (Priority.LOW, "r-1"))]
    for submitted in made:
        await rows.admit(submitted, limits())
    every = [row async for row in listings.jobs(Filter(tenant_id=tenant))]
    assert [row["run_id"] for row in every] == [str(submitted.run_id) for submitted in reversed(made)]
    assert [row["run_id"] async for row in listings.jobs(Filter(tenant_id=tenant), 1)] == [str(made[1].run_id)]
    for chosen in (Filter(tenant_id=tenant, replay_id="r-1"), Filter(tenant_id=tenant, priority="low"), Filter(video_id=made[1].video_id)):
        assert [row["run_id"] async for row in listings.jobs(chosen)] == [str(made[1].run_id)]
    later = datetime.now(UTC) + timedelta(hours=1)
    assert [row async for row in listings.jobs(Filter(tenant_id=tenant, since=later))] == []
    assert len([row async for row in listings.jobs(Filter(tenant_id=tenant, until=later))]) == 2


async def test_a_long_list_is_read_in_pages(rows, listings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row is listed once, though the database returns a few at a time and another is inserted meanwhile."""
    monkeypatch.setattr(storage.database, "PAGE_ROWS", 2)
    tenant = uuid4()
    names = set()
    for _ in range(5):
        submitted = request(tenant)
        names.add(str(submitted.run_id))
        await rows.admit(submitted, limits())
    listed = []
    async for row in listings.jobs(Filter(tenant_id=tenant)):
        if not listed:
            await rows.admit(request(tenant), limits())
        listed.append(row["run_id"])
    assert set(listed) >= names
    assert len(listed) == len(set(listed))


async def test_every_finished_run_stays_findable(rows, listings) -> None:
    """The runs table has only the forced run, while the history has both and says which superseded which."""
    first = request()
    await rows.admit(first, limits())
    old = await complete(rows, first)
    forced = request(first.tenant_id, first.video_id, force=True)
    await rows.admit(forced, limits(rate_limit_seconds=0))
    new = await complete(rows, forced)
    assert [row["run_id"] async for row in listings.runs(Filter(video_id=first.video_id))] == [str(new.run_id)]
    history = [row async for row in listings.run_history(Filter(video_id=first.video_id, model_version=first.model_version))]
    assert {row["run_id"]: row["superseded_by"] for row in history} == {str(old.run_id): str(new.run_id), str(new.run_id): None}
    assert [row["run_id"] async for row in listings.run_history(Filter(video_id=first.video_id, superseded=True))] == [str(old.run_id)]
    run = await listings.run(str(old.run_id)[:13])
    assert run is not None
    assert run["wasabi_storage_key"] == f"runs/{old.run_id}.db"


async def test_a_name_of_pattern_characters_names_no_run(rows, listings) -> None:
    """Characters of a LIKE pattern match no run, whatever runs there are."""
    await rows.admit(request(), limits())
    for name in ("%" * 8, "_" * 8, "%%%%%%%%-"):
        assert await listings.job(name) is None
        assert await listings.run(name) is None


async def test_rejections_are_counted_by_day_and_type(rows, listings) -> None:
    """The summary counts unacknowledged rejections, and a filtered list leaves out acknowledged ones."""
    before = {row["rejection_type"]: row for row in await listings.rejection_summary(1)}
    refused = replace(request(), rejection=Rejection(RejectionType.QUEUE_FULL, "full"))
    await rows.admit(refused, limits())
    after = {row["rejection_type"]: row for row in await listings.rejection_summary(1)}
    assert after["queue_full"]["unacknowledged"] == before.get("queue_full", {"unacknowledged": 0})["unacknowledged"] + 1
    rejection = await listings.rejection(str(refused.request_id))
    assert rejection is not None
    chosen = Filter(video_id=refused.video_id, acknowledged=False)
    assert [row["id"] async for row in listings.rejections(chosen)] == [str(refused.request_id)]
    await listings.update("rejections", {"acknowledged": True}, {"id": str(refused.request_id)})
    assert [row async for row in listings.rejections(chosen)] == []


async def test_the_overview_counts_what_is_unfinished(rows, listings) -> None:
    """The overview counts unfinished jobs by priority and status."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    async def queued() -> int:
        overview = await listings.overview(datetime.now(UTC) - timedelta(hours=1), midnight)
        return sum(job["count"] for job in overview["jobs"] if (job["priority"], job["status"]) == ("low", "queued"))

    before = await queued()
    await rows.admit(request(priority=Priority.LOW), limits())
    assert await queued() == before + 1


@pytest.mark.parametrize("by", ["tenant", "model", "day"])
async def test_usage_adds_up_gpu_seconds(rows, listings, by: str) -> None:
    """Usage sums runs and GPU seconds by tenant, model or day of completion."""
    submitted = request(model_version=f"m{uuid4().hex[:8]}")
    await rows.admit(submitted, limits())
    run = await complete(rows, submitted)
    name = {"tenant": str(run.tenant_id), "model": run.model_version, "day": f"{run.completed_at:%Y-%m-%d}"}[by]
    usage = {row["name"]: row for row in await listings.usage(run.completed_at, run.completed_at + timedelta(seconds=1), by)}
    assert usage[name]["runs"] >= 1
    assert usage[name]["gpu_seconds"] >= 12.5
