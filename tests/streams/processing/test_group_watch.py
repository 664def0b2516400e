"""A lost group is a fault; a group that is awaited is not."""

import asyncio
from types import SimpleNamespace

import pytest

from core.settings import KafkaSettings
from streams.processing.app import make_app
from streams.processing.group_watch import REBALANCES, GroupWatch
from tests.streams.processing.failing_worker import ROLE
from tests.streams.waiting import until


@pytest.fixture
def app() -> SimpleNamespace:
    """The parts of an app that the watch reads, during a rebalance."""
    return SimpleNamespace(consumer_generation_id=3, rebalancing=True, should_stop=False, consumer=None)


async def test_a_worker_outside_its_group_for_long_is_a_fault(app, kafka):
    """A worker outside its group becomes a fault only after a time longer than many rebalances, until it has joined again."""
    watch = GroupWatch(app, kafka)
    limit = REBALANCES * kafka.rebalance_timeout_seconds
    await watch.check(limit)
    assert (watch.wait_reason(), watch.fault()) == ("a rebalance is under way", None)
    await watch.check(1)
    assert watch.fault() == f"a rebalance is under way, for {limit + 1:.0f} s while the brokers answered; the limit is {limit:.0f} s"
    app.rebalancing = False
    await watch.check(1)
    assert (watch.wait_reason(), watch.fault()) == (None, None)


async def test_an_ended_coordination_task_is_a_fault(app, kafka):
    """A coordination task that ended is a fault, because aiokafka only logs it and the worker would never rebalance again."""

    async def fails() -> None:
        raise RuntimeError("unexpected")

    task = asyncio.ensure_future(fails())
    coordinator = SimpleNamespace(_coordination_task=task)
    app.rebalancing, app.consumer = False, SimpleNamespace(_thread=SimpleNamespace(_consumer=SimpleNamespace(_coordinator=coordinator)))
    watch = GroupWatch(app, kafka)
    assert watch.fault() is None
    await asyncio.wait([task])
    assert watch.fault() == "the coordination task has ended"
    app.should_stop = True
    assert watch.fault() is None
    assert str(task.exception()) == "unexpected"


async def test_aiokafka_still_has_the_coordination_task(topics, start, kafka, source):
    """Faust and aiokafka keep it here in a worker that has joined."""
    app = make_app(ROLE, kafka, topics, partitions=2)

    @app.agent(app.raw_topic(source), name="follow")
    async def follow(stream) -> None:
        async for _ in stream:
            pass

    await start(app)
    task = app.consumer._thread._consumer._coordinator._coordination_task
    assert not task.done()
    assert GroupWatch(app, kafka).fault() is None


async def test_a_broken_watch_is_a_fault(app, kafka, monkeypatch):
    """An unforeseen error must not leave a worker unwatched that is believed to be healthy."""

    async def breaks(*_: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("streams.processing.group_watch.LOOK_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(GroupWatch, "check", breaks)
    async with GroupWatch(app, kafka) as watch:
        assert watch.fault() is None
        await until(lambda: watch.fault() is not None)
        assert "unforeseen" in watch.fault()


async def test_a_worker_that_never_joined_is_a_fault_eventually(app, kafka):
    """A worker that is never admitted to its group is a fault too."""
    app.consumer_generation_id, app.rebalancing = 0, False
    watch = GroupWatch(app, kafka)
    await watch.check(REBALANCES * kafka.rebalance_timeout_seconds + 1)
    assert (watch.fault() or "").startswith("has not been joined yet, for ")


async def test_unreachable_brokers_are_not_a_fault(app, kafka):
    """Unreachable brokers are not a fault, because a new process could not reach them either. After the outage the time starts again."""
    watch = GroupWatch(app, kafka)
    limit = REBALANCES * kafka.rebalance_timeout_seconds
    await watch.check(limit + 1)
    watch._kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    await watch.check(limit + 1)
    assert watch.fault() is None
    watch._kafka = kafka
    await watch.check(limit)
    assert watch.fault() is None
