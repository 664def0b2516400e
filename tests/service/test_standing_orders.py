"""Operators' decisions apply to all requests: promotions, purged videos, the daily budget, cancellations."""

from uuid import UUID

import pytest
import pytest_asyncio

from core.types import Priority
from tests.service.installation import Installation
from tests.service.models import push_model
from tests.service.terminal import Terminal
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = 34


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"EXTENTS_RATE_LIMIT_SECONDS": "0"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def terminal(service: Installation, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    service.processes.start("coordinator")
    service.processes.start("gpu")
    await push_model(service, "v2")
    return Terminal(service, tmp_path_factory.mktemp("terminal"))


async def test_a_promoted_model_runs_and_the_run_says_why(service: Installation, terminal: Terminal) -> None:
    """A tenant's promotion is used within seconds, without a restart; a request that names a model gets that model."""
    before, _ = await service.run(video(FRAMES))
    await terminal("models", "promote", "v2", "--tenant", str(service.tenant_id), "--yes")
    await service.ledger.read_on(6)  # a coordinator looks every 5 seconds
    _, promoted = await service.run(video(FRAMES))
    named = (await service.ledger.outcome(before)).body["model_version"]
    _, named_run = await service.run(video(FRAMES), model_version=named)
    await terminal("models", "rollback", "--tenant", str(service.tenant_id), "--yes")
    assert (promoted.body["model_version"], named_run.body["model_version"]) == ("v2", named)
    shown = await terminal("runs", "show", promoted.body["run_id"])
    assert "v2 (promotion " in shown
    assert "(named by the request)" in await terminal("runs", "show", named_run.body["run_id"])


async def test_a_purged_video_does_not_come_back(service: Installation, terminal: Terminal) -> None:
    """A purged video's objects and rows are gone, and a request for it is rejected with the name of the user and the reason."""
    published, outcome = await service.run(video(FRAMES))
    video_id = UUID(outcome.body["video_id"])
    ids = ("--tenant", str(service.tenant_id), "--video", str(video_id))
    await terminal("purge", *ids, "--reason", "the owner asked for it", "--yes")
    assert [key async for key in service.store.list_keys(f"videos/{service.tenant_id}/{video_id}/")] == []
    again = await service.submit(video_id, FRAMES)
    refused = await service.ledger.outcome(again)
    assert refused.name == "inference.rejected"
    assert refused.body["rejection_type"] == "validation_failed"
    assert "the owner asked for it" in refused.body["message"]
    assert published.request_id != again.request_id


async def test_a_cancelled_job_says_who_cancelled_it(service: Installation, terminal: Terminal) -> None:
    """Spans that have not started are not computed, and the outcome has the reason."""
    await service.processes.workers[1].stopped()
    published = await service.submit(await service.add(video(FRAMES)), FRAMES)
    await service.ledger.until("the run's start", lambda: any(r.key for r in service.ledger.records["inference.work.high"][-1:]))
    rows = await terminal.json("jobs", "list", "--tenant", str(service.tenant_id), "--status", "queued")
    assert len(rows) == 1
    await terminal("jobs", "cancel", rows[0]["run_id"], "--reason", "wrong crop", "--yes")
    outcome = await service.ledger.outcome(published)
    assert (outcome.name, outcome.body["outcome"]) == ("inference.failed", "cancelled")
    assert outcome.body["reason"].startswith("cancelled by ")
    assert outcome.body["reason"].endswith(": wrong crop")
    service.processes.start("gpu")


async def test_nothing_more_is_computed_when_the_day_is_paid(service: Installation, terminal: Terminal) -> None:
    """Above the budget, high priority is rejected with the name of the setting and low priority waits; finished runs are still found."""
    published, outcome = await service.run(video(FRAMES))
    await service.processes.workers[0].stopped()
    service.processes.start("coordinator", EXTENTS_DAILY_BUDGET_USD="0.000000001")
    refused = await service.ledger.outcome(await service.submit(await service.add(video(FRAMES)), FRAMES))
    assert refused.body["rejection_type"] == "cost_exceeded"
    assert "EXTENTS_DAILY_BUDGET_USD" in refused.body["message"]
    repeated = await service.ledger.outcome(await service.submit(UUID(outcome.body["video_id"]), FRAMES))
    assert repeated.body["deduplicated"] is True
    assert published.request_id is not None
    waiting = await service.submit(await service.add(video(FRAMES)), FRAMES, priority=Priority.LOW)
    await service.ledger.read_on(3)
    assert not any(outcome.answers(waiting.request_id) for outcome in service.ledger.outcomes)
    await service.processes.workers[-1].stopped()
    service.processes.start("coordinator")
    assert (await service.ledger.outcome(waiting)).name == "inference.completed"
