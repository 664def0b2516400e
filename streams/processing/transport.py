"""Faust's transport, with the consumer and the producer that are mended."""

from typing import Any

from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError
from faust.transport.drivers import aiokafka as driver
from faust.transport.producer import ProducerBuffer
from faust.types import FutureMessage

from streams.processing.consumer import SeekSafeConsumer


class RetryingProducerBuffer(ProducerBuffer):
    """Sends what tables have changed. A send that the brokers do not take in time fails, and whoever waits for it sends again.

    In Faust 0.15.3 it would end the process: aiokafka takes a record only when it has room for it, and with brokers that are
    silent for a request's limit there is none. Reported as robinhood/faust#729.
    """

    async def _send_pending(self, fut: FutureMessage) -> None:
        try:
            await super()._send_pending(fut)
        except ProducerSendError as error:
            if not isinstance(error.__cause__, KafkaError):
                raise
            fut.set_exception(error.__cause__)
            fut.exception()  # a later change of the same key may be waited for in its place


class RetryingProducer(driver.Producer):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.buffer = RetryingProducerBuffer(loop=self.loop, beacon=self.beacon)
        self.buffer.app = self.app


class ExtentsTransport(driver.Transport):
    Consumer = SeekSafeConsumer
    Producer = RetryingProducer
