"""What happens to a fetch that is in flight during a seek."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service

from core.settings import KafkaSettings, TopicSettings
from streams.processing.app import ExtentsApp, make_app
from streams.processing.consumer import SeekSafeConsumer
from streams.topics import COORDINATOR, Topics

CHANGELOG = TP("changelog", 0)


class Thread(Service):
    """Faust's thread, reduced to fetches and seeks: a fetch in flight returns what lies at the position when it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.position = 0
        self.fetch_started, self.fetched = asyncio.Event(), asyncio.Event()

    async def getmany(self, partitions: set[TP], timeout: float) -> dict[TP, list[Any]]:  # noqa: ASYNC109 - Faust's
        self.fetch_started.set()
        await self.fetched.wait()
        records, self.position = list(range(self.position, 3)), 3
        return {CHANGELOG: [SimpleNamespace(offset=offset) for offset in records]}

    async def seek_wait(self, partitions: dict[TP, int]) -> None:
        self.position = partitions[CHANGELOG]

    def highwater(self, tp: TP) -> int:
        return 3


class FaustsConsumer(driver.Consumer):
    def _new_consumer_thread(self) -> Thread:
        return Thread()


class OurConsumer(SeekSafeConsumer):
    def _new_consumer_thread(self) -> Thread:
        return Thread()


@pytest.fixture
def app() -> ExtentsApp:
    topics = Topics(TopicSettings(_env_file=None))
    return make_app(COORDINATOR, KafkaSettings(_env_file=None, bootstrap_servers="nobody:1"), topics, partitions=4)


async def read_after_a_seek(kind: type[driver.Consumer], app: ExtentsApp) -> list[int]:
    """Offsets that a recovery reads if it seeks to the beginning during a fetch from before the rebalance."""
    consumer = kind(
        driver.Transport(app.conf.broker_consumer, app),
        callback=app.topics.on_message,
        on_partitions_revoked=app._on_partitions_revoked,
        on_partitions_assigned=app._on_partitions_assigned,
    )
    thread = consumer._thread
    consumer._to_message = lambda tp, record: record
    consumer._active_partitions, consumer.flow_active = {CHANGELOG}, True
    consumer.perform_seek = _nothing_committed

    async def fetch() -> list[int]:
        return [message.offset async for _, message in consumer.getmany(timeout=1.0)]

    before = asyncio.create_task(fetch())
    await thread.fetch_started.wait()
    consumer.stop_flow()  # the rebalance
    seeking = asyncio.create_task(consumer.seek_wait({CHANGELOG: 0}))
    await asyncio.wait({seeking}, timeout=0.1)
    thread.fetched.set()
    assert await before == []
    await seeking
    consumer.resume_flow()
    return await fetch()


async def _nothing_committed() -> None:
    """A changelog has no committed offsets."""


async def test_faust_itself_still_loses_records_fetched_between_seek_and_resumption(app: ExtentsApp) -> None:
    """Faust itself loses such records; once this fails, ``SeekSafeConsumer`` need not wait for a fetch in flight."""
    assert await read_after_a_seek(FaustsConsumer, app) == []


async def test_our_consumer_seeks_when_nothing_is_in_flight(app: ExtentsApp) -> None:
    """The fetch from before the rebalance is awaited, so the whole changelog is read after the seek."""
    assert await read_after_a_seek(OurConsumer, app) == [0, 1, 2]
