"""Workers are added and removed during the work: no work waits for them, is lost, or is repeated without need."""

from collections.abc import Mapping, Sequence

import pytest

from tests.chaos.figures import Report
from tests.chaos.fleet import ROLES, Fleet
from tests.chaos.history import History
from tests.chaos.load import Load, check_results
from tests.chaos.scale import Chaos
from tests.service.installation import Installation
from tests.service.processes import Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    # At least as many partitions as workers.
    return {"EXTENTS_REQUEST_PARTITIONS": "6", "EXTENTS_WORK_PARTITIONS": "10", "EXTENTS_RESULTS_PARTITIONS": "6"}


async def test_scaled_up_and_down(service: Installation, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report) -> None:
    """Each role in turn grows from one worker to five and back while videos come in: all complete, and all workers leave with status 0."""
    most, in_flight = chaos.of(full=(5, 8), short=(3, 4))
    history = History(service.ledger)
    async with Fleet(service) as fleet, Load(service, chaos.rng) as load:

        async def work() -> None:
            await load.keep_in_flight(in_flight)

        fleet.start("coordinator"), fleet.start("gpu")
        await fleet.settled()
        for role in ROLES:
            began = len(fleet.disturbances)
            added = fleet.start(role, most - 1)
            await fleet.settled(work)
            if role == "gpu":
                await fleet.until("spans taken by all who joined", lambda: takes_part(history, added), work)  # noqa: B023 - called at once
            await work()
            await fleet.stop(role, chaos.rng.sample(fleet.workers[role], most - 1))
            await fleet.settled(work)
            for change in fleet.disturbances[began:]:
                report.recovered(f"{change.kind} of {role}, until the group is settled", change.ended - change.began)
        evidence = await service.verify_at_rest()
    history.read()
    check_results(evidence, load.submitted, undisturbed)
    report.note(videos=len(load.submitted), **history.check_rework(fleet.disturbances).figures())


def takes_part(history: History, workers: Sequence[Worker]) -> bool:
    """Whether each of these workers has taken a span."""
    history.read()
    return {worker.pid for worker in workers} <= {int(name.rpartition(":")[2]) for name in history.workers()}
