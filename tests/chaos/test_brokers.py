"""Brokers that are killed, down or hard to reach while videos come in: nothing is lost, and every worker is in its group afterwards."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest
import pytest_asyncio

from devstack import stack as devstack
from devstack.ports import HOST
from tests.chaos.conftest import SETTINGS
from tests.chaos.figures import Report
from tests.chaos.history import History
from tests.chaos.load import Load, check_results
from tests.chaos.scale import Chaos
from tests.chaos.tcp_proxy import TcpProxy
from tests.chaos.upkeep import Upkeep
from tests.service.installation import Installation, installed

pytestmark = pytest.mark.asyncio(loop_scope="module")

DELAY_SECONDS = 2.0
HELD = 2 * 3
"""Spans that two GPU workers hold, with the default EXTENTS_SPANS_IN_FLIGHT."""


@pytest.fixture(scope="module")
def platform(cluster: devstack.OwnedStack) -> devstack.OwnedStack:
    """Three brokers, in the short form too."""
    return cluster


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[devstack.OwnedStack]:
    """A stack whose only broker has a second address, behind a proxy."""
    with devstack.owned(tmp_path_factory.mktemp("single"), proxied=True) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxy(single: devstack.OwnedStack) -> AsyncIterator[TcpProxy]:
    ((port, target),) = single.config.proxies.items()
    async with TcpProxy(port, target).running() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def behind_proxy(single, proxy: TcpProxy, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """Its workers reach the broker through the proxy, and soon give up an unanswered request; the tests connect directly."""
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{proxy.port}",
        "KAFKA_SESSION_TIMEOUT_SECONDS": "5",
        "KAFKA_HEARTBEAT_INTERVAL_SECONDS": "1",
        "KAFKA_REBALANCE_TIMEOUT_SECONDS": "8",
        "KAFKA_REQUEST_TIMEOUT_SECONDS": "10",
    }
    async with installed(single, {**SETTINGS, **settings}, tmp_path_factory.mktemp("workers")) as installation:
        yield installation


async def test_three_brokers_in_turn(
    service: Installation, cluster: devstack.OwnedStack, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report
) -> None:
    """Each of three brokers is killed and restarted, in turn, at once or after the other two have taken over."""
    nodes = chaos.of(full=[1, 2, 3] * 5, short=[chaos.rng.choice([1, 2, 3])])
    async with Load(service, chaos.rng) as load, Upkeep(service, load) as upkeep:
        for node in nodes:
            broker, stays_away = cluster.broker(node), chaos.rng.random() < 0.5
            upkeep.fault = "one of three brokers killed" if stays_away else "one of three brokers killed and started at once"
            await asyncio.to_thread(broker.kill)
            if stays_away:
                report.recovered(upkeep.fault, await upkeep.recovery_seconds())
            starting = asyncio.create_task(asyncio.to_thread(broker.start))
            if not stays_away:
                report.recovered(upkeep.fault, await upkeep.recovery_seconds())
            await upkeep.until(f"broker {node} to start", starting.done)
            starting.result()
            await upkeep.go_on(chaos.rng.uniform(0.0, 2.0))
        await check(upkeep, undisturbed, report, faults=len(nodes))
    report.note(brokers_killed=len(nodes))


async def test_the_only_broker(
    behind_proxy: Installation,
    single: devstack.OwnedStack,
    proxy: TcpProxy,
    undisturbed: Mapping[int, bytes],
    chaos: Chaos,
    report: Report,
) -> None:
    """The only broker is killed and stays down, or its network is cut, slow or half-open. Each time the work continues afterwards."""
    network = chaos.of(full=["cut", "slow", "half-open"], short=[chaos.rng.choice(["cut", "half-open"])])
    chaos.rng.shuffle(network)
    async with Load(behind_proxy, chaos.rng) as load, Upkeep(behind_proxy, load) as upkeep:
        upkeep.fault = "the only broker away"
        broker = single.broker(1)
        await asyncio.to_thread(broker.kill)
        await upkeep.go_on(chaos.of(full=60.0, short=3.0))
        starting = asyncio.create_task(asyncio.to_thread(broker.start))
        await upkeep.until("the broker to start", starting.done)
        starting.result()
        report.recovered(upkeep.fault, await upkeep.recovery_seconds())
        for fault in network:
            upkeep.fault = f"network {fault}"
            assert proxy.connections > 0
            if fault == "slow":
                with proxy.slow(DELAY_SECONDS):
                    report.recovered(f"network {fault}, while it lasts", await upkeep.recovery_seconds())
            else:
                with proxy.cut() if fault == "cut" else proxy.half_open():
                    probe = await upkeep.probe()
                    await upkeep.go_on(chaos.of(full=chaos.rng.uniform(5.0, 20.0), short=2.0))
                    assert probe in load.unanswered(), f"the workers were not behind the proxy: {probe} was answered while it was {fault}"
            report.recovered(upkeep.fault, await upkeep.recovery_seconds())
        await check(upkeep, undisturbed, report, faults=1 + len(network))


async def check(upkeep: Upkeep, undisturbed: Mapping[int, bytes], report: Report, faults: int) -> None:
    """Every request has its outcome and is acknowledged; all workers are in their groups and end only at a signal."""
    service = upkeep.service
    await upkeep.end_load()
    await upkeep.joined()
    evidence = await service.verify_at_rest()
    check_results(evidence, upkeep.load.submitted, undisturbed)
    await upkeep.go_on(0.1)
    await upkeep.stop()
    history = History(service.ledger)
    history.read()
    computed = [{result.done_at for result in results} for results in history.done.values()]
    rework = sum(len(times) - 1 for times in computed)
    report.note(
        videos=len(evidence.outcomes),
        workers_ended=upkeep.ends.total(),
        rework_spans=rework,
        results_sent_twice=sum(map(len, history.done.values())) - sum(map(len, computed)),
    )
    assert not upkeep.ends, f"workers have ended by themselves: {dict(upkeep.ends)}"
    assert rework <= faults * HELD, f"{rework} spans were computed again; {faults} faults met at most {HELD} each"
