"""Faust's transport with our consumer and producer."""

from typing import Any

from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError
from faust.transport.drivers import aiokafka as driver
from faust.transport.producer import ProducerBuffer
from faust.types import FutureMessage

from streams.processing.consumer import SeekSafeConsumer


class RetryingProducerBuffer(ProducerBuffer):
    """Sends the changes of tables. A send that times out fails its future, and the code that waits for it sends again.

    In Faust 0.15.3 such a timeout ends the process: aiokafka accepts a record only when its buffer has space, and the buffer fills
    up while the brokers do not respond. Reported as robinhood/faust#729.
    """

    async def _send_pending(self, fut: FutureMessage) -> None:
        try:
            await super()._send_pending(fut)
        except ProducerSendError as error:
            if not isinstance(error.__cause__, KafkaError):
                raise
            fut.set_exception(error.__cause__)
            fut.exception()  # mark as retrieved: a later change of the key may be awaited instead


class RetryingProducer(driver.Producer):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.buffer = RetryingProducerBuffer(loop=self.loop, beacon=self.beacon)
        self.buffer.app = self.app


class ExtentsTransport(driver.Transport):
    Consumer = SeekSafeConsumer
    Producer = RetryingProducer
