"""What the app's consumer fixes in Faust's consumer."""

from types import SimpleNamespace

import pytest
from aiokafka.consumer.subscription_state import TopicPartitionState
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.processing.consumer import SeekSafeConsumer

TAKEN_OVER = TP("t", 0)


@pytest.fixture
async def thread() -> SimpleNamespace:
    """The part of Faust's thread that watches an assigned partition whose position is not known yet."""
    state = TopicPartitionState(None)
    state.highwater = 3
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    subscriptions = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
    app = SimpleNamespace(monitor=SimpleNamespace(), topics=SimpleNamespace(acks_enabled_for=lambda _: True))
    return SimpleNamespace(
        consumer=SimpleNamespace(app=app),
        time_started=0.0,
        _verify_aiokafka_event_path=lambda now, tp: False,
        _ensure_consumer=lambda: SimpleNamespace(_fetcher=SimpleNamespace(_subscriptions=subscriptions)),
    )


async def test_faust_itself_still_fails_on_an_unknown_position(thread: SimpleNamespace) -> None:
    """Faust itself fails on an unknown position; once this fails, ``SeekSafeConsumer.verify_event_path`` can be removed."""
    with pytest.raises(AssertionError):
        driver.AIOKafkaConsumerThread.verify_event_path(thread, 1.0, TAKEN_OVER)


async def test_our_consumer_tolerates_an_unknown_position(thread: SimpleNamespace) -> None:
    """A worker whose brokers are slow after a rebalance continues."""
    SeekSafeConsumer.verify_event_path(SimpleNamespace(_thread=thread), 1.0, TAKEN_OVER)
