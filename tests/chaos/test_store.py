"""An object store that fails in every way while videos come in: no run fails because of it, and no worker is restarted."""

from collections.abc import AsyncIterator, Mapping
from random import Random

import pytest
import pytest_asyncio

from devstack.stack import OwnedStack
from tests.chaos.figures import Report
from tests.chaos.fleet import Fleet
from tests.chaos.history import History
from tests.chaos.http_proxy import Fault, HttpProxy
from tests.chaos.load import Load, check_results
from tests.chaos.scale import Chaos, Scale
from tests.chaos.vigil import PROBE_FRAMES, Vigil
from tests.service.installation import Installation
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAULTS = [fault for fault in Fault if fault is not Fault.RUBBISH]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxy(platform: OwnedStack, scale: Scale) -> AsyncIterator[HttpProxy]:
    upstream = platform.env["WASABI_ENDPOINT"]
    async with HttpProxy(upstream, Random(scale.seed), late_seconds=scale.of(full=1.5, short=0.5)).running() as running:
        yield running


@pytest.fixture(scope="module")
def settings(proxy: HttpProxy) -> dict[str, str]:
    """Retry a span for longer, because otherwise it would be given up before a fault ends."""
    return {"WASABI_ENDPOINT": proxy.address, "WASABI_TIMEOUT_SECONDS": "2", "EXTENTS_RETRY_IN_PLACE_SECONDS": "4"}


async def test_every_fault(service: Installation, proxy: HttpProxy, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report) -> None:
    """Each fault affects every request for some time, then all of them mixed: every video is completed as if nothing had happened."""
    seconds, mixed_seconds, in_flight, workers = chaos.of(full=(9.0, 30.0, 6, 2), short=(1.0, 3.0, 2, 1))
    faults = chaos.rng.sample(FAULTS, len(FAULTS))
    async with Fleet(service) as fleet, Load(service, chaos.rng) as load, Vigil(fleet, load) as vigil:

        async def work() -> None:
            await load.keep_in_flight(in_flight)

        fleet.start("coordinator"), fleet.start("gpu", workers)
        await fleet.settled()
        for fault in faults:
            made = proxy.faults[fault]
            with proxy.failing(fault):
                await vigil.go_on(seconds, work)
                await vigil.until(f"a request that meets {fault}", lambda: proxy.faults[fault] > made, work)  # noqa: B023 - called at once
                probe = await vigil.probe()
            report.recovered(fault, await vigil.recovered(probe))
        with proxy.failing(*faults, rate=0.3):
            await vigil.go_on(mixed_seconds, work)
            probe = await vigil.probe()
        report.recovered("all faults mixed", await vigil.recovered(probe))
        evidence = await service.verify_at_rest()
        await vigil.stop()
    check_results(evidence, load.submitted, undisturbed)
    assert not evidence.letters
    history = History(service.ledger)
    history.read()
    rework = history.check_rework(fleet.disturbances)
    report.note(videos=len(load.submitted), faults_made=dict(proxy.faults), requests=proxy.requests, **rework.figures())


async def test_a_chunk_that_arrives_as_rubbish(service: Installation, proxy: HttpProxy, chaos: Chaos) -> None:
    """Bytes that are not a chunk fail the run at once, with the chunk's name and one dead letter; the next request completes it."""
    chunk = chaos.rng.choice(sorted(video(PROBE_FRAMES).chunks))
    async with Fleet(service) as fleet, Load(service, chaos.rng) as load, Vigil(fleet, load) as vigil:
        fleet.start("coordinator"), fleet.start("gpu")
        video_id = await service.add(video(PROBE_FRAMES))
        with proxy.failing(Fault.RUBBISH, of=lambda method, path: path.endswith(chunk)):
            first = await load.request(video_id, PROBE_FRAMES)
            failed = await service.ledger.outcome(first.published)
        assert failed.name == "inference.failed"
        assert chunk in failed.body["reason"]
        again = await load.request(video_id, PROBE_FRAMES)
        completed = await service.ledger.outcome(again.published)
        assert (completed.name, completed.body["attempt"], completed.body["run_id"]) == ("inference.completed", 2, failed.body["run_id"])
        evidence = await service.verify_at_rest()
        assert len(evidence.letters) == 1
        await vigil.stop()
