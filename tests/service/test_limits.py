"""The number of jobs that one tenant may have, unfinished and in an hour."""

import pytest

from tests.service.installation import Installation
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"EXTENTS_QUEUE_LIMIT_TENANT": "1", "EXTENTS_MAX_HIGH_JOBS_PER_HOUR_TENANT": "2"}


async def test_limits_of_a_tenant(service: Installation) -> None:
    """While a tenant's job is unfinished a second one is rejected, and after two in an hour a third, each with the setting's name."""
    coordinator = service.processes.start("coordinator")
    first = await service.submit(await service.add(video(2)), 2)
    await service.ledger.until("the first admitted", lambda: service.ledger.records["inference.work.high"])
    _, refused = await service.run(video(2))
    assert (refused.name, refused.body["rejection_type"]) == ("inference.rejected", "queue_full")
    assert "EXTENTS_QUEUE_LIMIT_TENANT" in refused.body["message"]

    service.processes.start("gpu")
    assert (await service.ledger.outcome(first)).name == "inference.completed"
    assert (await service.run(video(2)))[1].name == "inference.completed"
    _, refused = await service.run(video(2))
    assert (refused.name, refused.body["rejection_type"]) == ("inference.rejected", "rate_limited")
    assert "EXTENTS_MAX_HIGH_JOBS_PER_HOUR_TENANT" in refused.body["message"]
    await service.verify_at_rest()
    assert await coordinator.stopped() == 0
