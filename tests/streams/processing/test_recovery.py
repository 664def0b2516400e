"""What is fixed in Faust for brokers that are down during a rebalance."""

import asyncio

import pytest
from aiokafka.errors import IllegalStateError, KafkaTimeoutError
from faust.tables.recovery import Recovery, ServiceStopped
from faust.types import TP

from core.settings import KafkaSettings, TopicSettings
from streams.processing import consumer
from streams.processing.app import ExtentsApp, make_app
from streams.processing.consumer import SeekSafeConsumer
from streams.topics import COORDINATOR, Topics

PARTITION = TP("t", 0)


@pytest.fixture
def app() -> ExtentsApp:
    topics = Topics(TopicSettings(_env_file=None))
    return make_app(COORDINATOR, KafkaSettings(_env_file=None, bootstrap_servers="nobody:1"), topics, partitions=4)


async def test_faust_itself_still_ends_a_recovery_after_a_timeout(app: ExtentsApp) -> None:
    """Faust itself ends a recovery after a timeout; once this fails, ``UnboundedRecovery`` can be removed."""
    with pytest.raises(ServiceStopped):
        await Recovery(app, app.tables)._wait(asyncio.Event().wait(), timeout=0.01)


async def test_our_recovery_keeps_waiting(app: ExtentsApp) -> None:
    """A step of recovery may take longer than a request's timeout."""
    recovery, answered = app.tables.recovery, asyncio.Event()
    waiting = asyncio.create_task(recovery._wait(answered.wait(), timeout=0.01))
    await asyncio.wait({waiting}, timeout=0.1)
    assert not waiting.done()
    answered.set()
    await waiting


class Thread:
    """The thread of a consumer whose brokers respond late, or never, because another process has the partition."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def highwaters(self, *partitions: TP) -> dict[TP, int]:
        return dict.fromkeys(partitions, self._answer())

    earliest_offsets = highwaters

    async def seek_wait(self, partitions: dict[TP, int]) -> None:
        self._answer()

    def _answer(self) -> int:
        if self.errors:
            raise self.errors.pop(0)
        return 7


async def _at_once() -> None:
    """No fetch is in flight."""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch) -> None:
    monkeypatch.setattr(consumer, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def make_consumer():
    """A consumer with our thread, which needs nothing of Faust's own here."""

    def build(*errors: Exception) -> SeekSafeConsumer:
        made = SeekSafeConsumer.__new__(SeekSafeConsumer)
        made._thread = Thread(*errors)
        made._stop_fetching = _at_once
        return made

    return build


async def test_requests_to_brokers_are_retried_until_answered(make_consumer) -> None:
    """Requests for ends, beginnings and positions are retried after a timeout, instead of ending the process."""
    late = (KafkaTimeoutError("10000 ms"), TimeoutError(), KafkaTimeoutError("10000 ms"))
    assert await make_consumer(*late).highwaters(PARTITION) == {PARTITION: 7}
    assert await make_consumer(*late).earliest_offsets(PARTITION) == {PARTITION: 7}
    await make_consumer(*late).seek_wait({PARTITION: 3})


async def test_requests_about_a_lost_partition_are_not_retried(make_consumer) -> None:
    """A rebalance that has revoked the partition is reported at once."""
    with pytest.raises(IllegalStateError):
        await make_consumer(IllegalStateError("no assignment")).highwaters(PARTITION)
