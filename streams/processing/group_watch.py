"""Whether this worker has its place in its group. Waiting for one is no fault; being without for long, while the brokers answer, is."""

import asyncio
from typing import Final, Self

from core.errors import TransientError
from core.settings import KafkaSettings
from streams.kafka.brokers import brokers
from streams.processing.app import ExtentsApp

REBALANCES: Final = 10
"""So many rebalances, each as long as it may be, can follow each other while many workers come and go."""

LOOK_EVERY_SECONDS: Final = 15.0


class GroupWatch:
    """Looks from time to time while it is entered."""

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
            return f"it is not watched any more: {self._watching}"
        if self._coordination_ended():
            return "the task that keeps it has ended"
        if self._seconds_outside <= self._limit_seconds:
            return None
        seconds = f"{self._seconds_outside:.0f} s while the brokers answered"
        return f"{self.wait_reason()}, for {seconds}; the limit is {self._limit_seconds:.0f} s"

    async def check(self, seconds: float) -> None:
        """Count the seconds since the last look, unless the group is held, or the brokers are away: then begin anew."""
        outside = self.wait_reason() is not None and await self._brokers_answer()
        self._seconds_outside = self._seconds_outside + seconds if outside else 0.0

    def _coordination_ended(self) -> bool:
        """Whether aiokafka has given up: it says so in its log alone, and Faust never looks."""
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
