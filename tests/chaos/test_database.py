"""A database that is down, slow, or failing while videos come in: results are kept, and written when it is back."""

import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from random import Random

import pytest
import pytest_asyncio

from core.frames import span_count
from devstack.stack import OwnedStack
from tests.chaos.figures import Report
from tests.chaos.fleet import Fleet
from tests.chaos.history import History
from tests.chaos.http_proxy import Fault, HttpProxy
from tests.chaos.load import SIZES, Load, check_results
from tests.chaos.scale import Chaos, Scale
from tests.chaos.vigil import PROBE_FRAMES, Vigil
from tests.service.installation import Installation
from tests.service.processes import Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAUSES = (0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)
LONGEST_PAUSE = 15.0
"""Pause between two checks whether the database is back."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxy(platform: OwnedStack, scale: Scale) -> AsyncIterator[HttpProxy]:
    upstream = platform.env["SUPABASE_URL"]
    async with HttpProxy(upstream, Random(scale.seed), late_seconds=scale.of(full=5.0, short=0.5)).running() as running:
        yield running


@pytest.fixture(scope="module")
def settings(proxy: HttpProxy, scale: Scale) -> dict[str, str]:
    return {"SUPABASE_URL": proxy.address, "SUPABASE_TIMEOUT_SECONDS": scale.of(full="10", short="3")}


async def test_unreachable_while_results_come_in(
    service: Installation, proxy: HttpProxy, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report
) -> None:
    """While the database is down, everything admitted is computed and nothing is announced; everything is announced once it is back."""
    outage_seconds, videos = chaos.of(full=(120.0, 12), short=(2.0, 2))
    history = History(service.ledger)

    async def read() -> None:
        history.read()

    async with Fleet(service) as fleet, Load(service, chaos.rng) as load, Vigil(fleet, load) as vigil:
        (coordinator,) = fleet.start("coordinator")
        await fleet.settled()
        history.read()
        before, announced = len(history.done), completed(service)
        await load.publish([chaos.rng.choice(SIZES) for _ in range(videos)])
        await fleet.until("runs started", lambda: unfinished(service) == videos)
        spans = sum(span_count(item.frame_count) for item in load.submitted)
        async with proxy.unreachable():
            began = time.monotonic()
            fleet.start("gpu")
            await vigil.until("every span done", lambda: len(history.done) == before + spans, meanwhile=read)
            late = await vigil.probe()
            await vigil.until("the outage to be noticed", lambda: "dependency.unreachable" in events(coordinator))
            assert "database: unreachable" in (await vigil.fetch(coordinator, "readyz"))[1]
            assert await waiting(vigil, coordinator) == 1
            if chaos.full:
                fleet.kill("coordinator", [coordinator])
                (coordinator,) = fleet.workers["coordinator"]
                await vigil.until("the next one to wait as well", lambda: "prerequisite.missing" in events(coordinator))
            await vigil.until("the outage to last", lambda: time.monotonic() - began > outage_seconds)
            assert completed(service) == announced
        report.recovered("database away", await vigil.recovered(late))
        evidence = await service.verify_at_rest()
        # One that is started during an outage takes no work until the database has answered once.
        noticed = chaos.of(full={"prerequisite.missing", "prerequisites.met"}, short={"dependency.unreachable", "dependency.recovered"})
        assert noticed <= set(events(coordinator))
        assert await waiting(vigil, coordinator) == 0
        await vigil.stop()
    check_results(evidence, load.submitted, undisturbed)
    assert not evidence.letters
    report.note(videos=len(load.submitted), outage_seconds=round(outage_seconds))


async def test_how_often_it_is_probed_while_unreachable(service: Installation, proxy: HttpProxy, chaos: Chaos, report: Report) -> None:
    """However many runs and requests wait for the database, it is probed once after each pause."""
    seconds, in_flight = chaos.of(full=(40.0, 20), short=(3.0, 4))
    async with Fleet(service) as fleet, Load(service, chaos.rng) as load, Vigil(fleet, load) as vigil:

        async def work() -> None:
            await load.publish([PROBE_FRAMES] * (in_flight - len(load.unanswered())))

        fleet.start("coordinator"), fleet.start("gpu")
        await fleet.settled()
        await work()
        with proxy.failing(Fault.RESET):
            before, began = proxy.requests, time.monotonic()
            await vigil.go_on(seconds, work)
            requests, took = proxy.requests - before, time.monotonic() - began
            probe = await vigil.probe()
        report.recovered("database resetting connections", await vigil.recovered(probe))
        # What is under way when the outage begins fails once, some of it with a probe of its own.
        assert requests <= expected_probes(took) + 2 * in_flight, f"{requests} requests in {took:.0f} s"
        await service.verify_at_rest()
        await vigil.stop()
    report.note(requests_while_away=requests, seconds_away=round(took), in_flight=in_flight)


async def test_slow_and_failing_at_random(
    service: Installation, proxy: HttpProxy, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report
) -> None:
    """Slow answers, then random errors, then no faults: videos are completed in each phase."""
    slow_seconds, failing_seconds, in_flight = chaos.of(full=(12.0, 20.0, 6), short=(1.0, 1.5, 3))
    unwell: list[tuple[str, tuple[Fault, ...], float, float]] = [
        ("database slow", (Fault.LATE,), 1.0, slow_seconds),
        ("database answering 500", (Fault.ERROR,), 0.5, failing_seconds),
        (
            "all faults of the database mixed",
            (Fault.LATE, Fault.ERROR, Fault.SLOW_DOWN, Fault.RESET, Fault.CUT, Fault.SILENCE),
            0.4,
            failing_seconds,
        ),
    ]
    async with Fleet(service) as fleet, Load(service, chaos.rng) as load, Vigil(fleet, load) as vigil:

        async def work() -> None:
            await load.keep_in_flight(in_flight)

        fleet.start("coordinator", 2), fleet.start("gpu")
        await fleet.settled()
        for name, faults, rate, seconds in unwell:
            made = proxy.faults.total()
            with proxy.failing(*faults, rate=rate):
                await vigil.go_on(seconds, work)
                await vigil.until(f"requests to meet a {name}", lambda: proxy.faults.total() > made, work)  # noqa: B023 - called at once
                probe = await vigil.probe()
            report.recovered(name, await vigil.recovered(probe))
        evidence = await service.verify_at_rest()
        await vigil.stop()
    check_results(evidence, load.submitted, undisturbed)
    assert not evidence.letters
    report.note(videos=len(load.submitted), faults_made=dict(proxy.faults))


async def test_stopped_while_it_is_unreachable(service: Installation, proxy: HttpProxy, chaos: Chaos) -> None:
    """A coordinator that waits for the database ends with status 0 at a signal; another one, started meanwhile, takes over its work."""
    async with Fleet(service) as fleet, Load(service, chaos.rng) as load, Vigil(fleet, load) as vigil:
        (coordinator,) = fleet.start("coordinator")
        fleet.start("gpu")
        await fleet.settled()
        async with proxy.unreachable():
            probe = await vigil.probe()
            await vigil.until("the outage to be noticed", lambda: "dependency.unreachable" in events(coordinator))
            await fleet.stop("coordinator", [coordinator])
            (successor,) = fleet.start("coordinator")
            await fleet.until("the successor to wait as well", lambda: "prerequisite.missing" in events(successor))
        await vigil.recovered(probe)
        await service.verify_at_rest()
        await vigil.stop()


def unfinished(service: Installation) -> int:
    """Runs that were started and not finished."""
    kinds = [json.loads(record.value)["kind"] for record in service.ledger.records["inference.results"]]
    return kinds.count("run_started") - kinds.count("run_finished")


def completed(service: Installation) -> int:
    return len(service.ledger.records["inference.completed"])


def events(worker: Worker) -> list[str]:
    """What a worker has logged about its dependencies, in order."""
    return re.findall(r'"event":"((?:dependency|prerequisites?)\.\w+)"', worker.log.read_text() if worker.log.exists() else "")


async def waiting(vigil: Vigil, worker: Worker) -> float:
    """The gauge of the database's circuit breaker."""
    _, text = await vigil.fetch(worker, "metrics")
    match = re.search(r'^extents_waiting\{dependency="database"\} (\S+)$', text, re.MULTILINE)
    assert match is not None
    return float(match[1])


def expected_probes(seconds: float) -> int:
    """How often the database is probed during an outage of this length."""
    requests, passed = 1, 0.0
    for pause in (*PAUSES, *[LONGEST_PAUSE] * 1000):
        passed += pause
        if passed > seconds:
            break
        requests += 1
    return requests
