"""Watches this worker's membership in its consumer group. Only a long absence while the brokers answer is a fault."""

import asyncio
from typing import Final, Self

from core.errors import TransientError
from core.settings import KafkaSettings
from streams.kafka.brokers import brokers
from streams.processing.app import ExtentsApp

REBALANCES: Final = 10
"""This many rebalances of maximum length may follow each other while many workers join and leave."""

LOOK_EVERY_SECONDS: Final = 15.0


class GroupWatch:
    """Checks the membership regularly while entered."""

    def __init__(self, app: ExtentsApp, kafka: KafkaSettings) -> None:
        self._app, self._kafka = app, kafka
        self._limit_seconds = REBALANCES * kafka.rebalance_timeout_seconds
        self._seconds_outside = 0.0
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._watching is not None:
            self._watching.cancel()

    def wait_reason(self) -> str | None:
        if self._app.consumer_generation_id < 1:
            return "has not been joined yet"
        return "a rebalance is under way" if self._app.rebalancing else None

    def fault(self) -> str | None:
        if self._watching is not None and self._watching.done():
            return f"the group watch has stopped: {self._watching}"
        if self._coordination_ended():
            return "the coordination task has ended"
        if self._seconds_outside <= self._limit_seconds:
            return None
        seconds = f"{self._seconds_outside:.0f} s while the brokers answered"
        return f"{self.wait_reason()}, for {seconds}; the limit is {self._limit_seconds:.0f} s"

    async def check(self, seconds: float) -> None:
        """Add the seconds since the last check to the absence. Reset it if this worker is a member or the brokers are unreachable."""
        outside = self.wait_reason() is not None and await self._brokers_answer()
        self._seconds_outside = self._seconds_outside + seconds if outside else 0.0

    def _coordination_ended(self) -> bool:
        """Whether aiokafka's coordination task has ended. aiokafka only logs that, and Faust does not check."""
        if self._app.consumer_generation_id < 1:
            return False
        thread = getattr(self._app.consumer, "_thread", None)
        coordinator = getattr(getattr(thread, "_consumer", None), "_coordinator", None)
        task: asyncio.Task[None] | None = getattr(coordinator, "_coordination_task", None)
        return task is not None and task.done() and not self._app.should_stop

    async def _brokers_answer(self) -> bool:
        try:
            async with brokers(self._kafka):
                return True
        except TransientError:
            return False

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            await self.check(LOOK_EVERY_SECONDS)
