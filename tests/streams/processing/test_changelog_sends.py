"""A table's change is resent if the brokers did not accept it in time."""

from types import SimpleNamespace

import pytest
from aiokafka.errors import KafkaTimeoutError
from faust.exceptions import ProducerSendError
from faust.transport.producer import ProducerBuffer
from faust.types.tuples import FutureMessage

from core.settings import KafkaSettings, TopicSettings
from streams.processing.app import make_app
from streams.processing.transport import RetryingProducerBuffer
from streams.topics import COORDINATOR, Topics


@pytest.fixture
async def change() -> FutureMessage:
    """A change whose topic has no room for it within a request's limit, as aiokafka and Faust report it."""

    async def publish(change, *, wait):
        raise ProducerSendError("error sending") from KafkaTimeoutError()

    return FutureMessage(SimpleNamespace(channel=SimpleNamespace(publish_message=publish)))


async def test_faust_itself_still_ends(change):
    """Faust itself ends the process; once this fails, ``RetryingProducerBuffer`` can be removed."""
    with pytest.raises(ProducerSendError):
        await ProducerBuffer()._send_pending(change)


async def test_our_buffer_reports_the_failure_to_the_waiter(change):
    """The change fails with the error on which ``ConfirmedTable`` resends it, and the process continues."""
    await RetryingProducerBuffer()._send_pending(change)
    with pytest.raises(KafkaTimeoutError):
        await change


async def test_the_app_uses_our_producer_buffer():
    """The app's producers use our buffer, although Faust makes a separate one for each producer."""
    topics = Topics(TopicSettings(_env_file=None))
    app = make_app(COORDINATOR, KafkaSettings(_env_file=None, bootstrap_servers="nobody:1"), topics, partitions=4)
    assert isinstance(app.producer.buffer, RetryingProducerBuffer)
    assert app.producer.buffer.app is app
