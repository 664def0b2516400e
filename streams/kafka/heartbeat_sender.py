"""Sends the heartbeats of this process. An error here never affects the process's work."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from core.errors import ExtentsError
from core.logging import get_logger
from core.settings import KafkaSettings
from streams.kafka.connection import client_options
from streams.policy.heartbeats import Heartbeat

log = get_logger(__name__)

SEND_SECONDS: Final = 5.0
"""Limit for one heartbeat. The topic may be missing, or this process may lack the permission to write to it."""

MISSED_BEATS: Final = 3
"""After a failed heartbeat, the next one is sent this many intervals later."""

FAREWELL_SECONDS: Final = 2.0
"""Limit for each step of the exit: ending the sending task, sending the last heartbeat, and closing the connection."""

LOOK_SECONDS: Final = 1.0
"""Interval at which the worker's state is checked for a change. A change is sent immediately."""


class HeartbeatSender:
    """An async context manager: sends heartbeats while entered, and at its exit a last one that announces the end of the process.

    Args:
        beat: returns the current heartbeat.
        crashed: returns whether the process ends because of an error. If so, no last heartbeat is sent and the worker counts as gone.
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, every_seconds: float, beat: Callable[[], Heartbeat], crashed: Callable[[], bool]
    ) -> None:
        self._kafka, self._topic, self._every_seconds = kafka, topic, every_seconds
        self._beat, self._crashed = beat, crashed
        self._sending: asyncio.Task[None] | None = None
        self._producer: AIOKafkaProducer | None = None
        self._fault: str | None = None

    async def __aenter__(self) -> Self:
        self._sending = asyncio.create_task(self._send_on())
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stop_sending()
        if self._producer is None:
            return
        with suppress(Exception):
            if not self._crashed():
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._send(self._beat().model_copy(update={"ended": True}))
        with suppress(Exception):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._producer.stop()

    async def _stop_sending(self) -> None:
        """Cancel the sending task, repeatedly if necessary: a cancellation that coincides with a confirmation may be swallowed."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + FAREWELL_SECONDS
        while self._sending is not None and not self._sending.done() and loop.time() < limit:
            self._sending.cancel()
            await asyncio.wait({self._sending}, timeout=0.1)

    async def _send_on(self) -> None:
        """Send until cancelled."""
        while True:
            try:
                beat = self._beat()
                async with asyncio.timeout(SEND_SECONDS + 1.0):  # later than the producer's own timeout, whose error is more precise
                    await self._send(beat)
                if self._fault is not None:
                    log.info("heartbeat.recovered")
                    self._fault = None
                await self._until_due(beat)
            except Exception as error:  # not even a bug may end the heartbeats
                self._note_fault(error)
                await asyncio.sleep(MISSED_BEATS * self._every_seconds)

    def _note_fault(self, error: Exception) -> None:
        fault = str(error) or type(error).__name__
        if fault == self._fault:
            return
        self._fault = fault
        expected = isinstance(error, (KafkaError, ExtentsError, OSError))
        advice = "the worker continues; extents topics check says whether the topic exists"
        log.warning("heartbeat.not_sent", topic=self._topic, error=fault, advice=advice, exc_info=None if expected else error)

    async def _send(self, beat: Heartbeat) -> None:
        if self._producer is None:
            limit_ms = int(1000 * SEND_SECONDS)
            producer = AIOKafkaProducer(**client_options(self._kafka), request_timeout_ms=limit_ms, retry_backoff_ms=1000)
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        await self._producer.send_and_wait(self._topic, beat.to_bytes(), key=str(beat.instance).encode())

    async def _until_due(self, sent: Heartbeat) -> None:
        """Wait until the next heartbeat is due or the worker's state has changed."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._every_seconds
        while (left := due - loop.time()) > 0:
            await asyncio.sleep(min(LOOK_SECONDS, left))
            if _standing(self._beat()) != _standing(sent):
                return


def _standing(beat: Heartbeat) -> tuple[object, ...]:
    """Return the part of a heartbeat whose change is sent immediately. It has only the names of the reasons: their texts count seconds."""
    return beat.stopping, *(tuple(reason.partition(":")[0] for reason in reasons) for reasons in (beat.faults, beat.waits))
