"""Trying again what may pass: with backoff and jitter, for as long as the caller's tenure lasts or a limit allows."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from core.errors import PermanentError, TransientError
from core.logging import get_logger
from core.metrics import RETRIES, WAITING
from streams.app import Tenure

log = get_logger(__name__)

T = TypeVar("T")

FIRST_PAUSE_SECONDS: Final = 0.2
MAX_PAUSE_SECONDS: Final = 15.0


class Dependency:
    """Something outside this process that can be away: a database, a store.

    While a call fails, the others of the same dependency wait for its next try instead of failing one by one.
    ``probe`` asks the dependency for something that has nothing to do with any record: it tells whether an error is about
    the dependency or about the record at hand.
    """

    def __init__(self, name: str, probe: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self._probe = probe
        self._closed = asyncio.Event()
        self._closed.set()
        self._retry_at = 0.0
        self._pause = FIRST_PAUSE_SECONDS

    @property
    def away(self) -> bool:
        return not self._closed.is_set()

    def waited_for(self) -> str | None:
        """What to say of it in readiness."""
        return f"away, tried again in {max(0.0, self._retry_at - time.monotonic()):.0f} s" if self.away else None

    async def call(self, tenure: Tenure, action: Callable[[], Awaitable[T]], limit_seconds: float | None = None) -> T:
        """Run ``action`` until it does not raise TransientError.

        Raises:
            TenureEnded: a rebalance or a stop began while waiting; the last try may have had its effect.
            TransientError: it still failed after ``limit_seconds``, though the dependency itself answers.
        """
        started = time.monotonic()
        while True:
            pause = self._retry_at - time.monotonic()
            if self.away and pause > 0:
                await tenure.during(asyncio.sleep(pause * random.uniform(1.0, 1.3)))  # noqa: S311 - jitter
            try:
                result = await tenure.during(action())
            except TransientError as error:
                self._opened(error)
                if limit_seconds is not None and time.monotonic() - started > limit_seconds and await self._answers(tenure):
                    self._recovered()
                    raise
            except PermanentError:
                self._recovered()  # an answer, if not the one hoped for
                raise
            else:
                self._recovered()
                return result

    async def _answers(self, tenure: Tenure) -> bool:
        try:
            await tenure.during(self._probe())
        except TransientError:
            return False
        return True

    def _opened(self, error: TransientError) -> None:
        RETRIES.labels(self.name).inc()
        WAITING.labels(self.name).set(1)
        if not self.away:
            self._pause = FIRST_PAUSE_SECONDS
            log.warning("dependency.away", dependency=self.name, error=str(error))
        elif time.monotonic() >= self._retry_at:
            self._pause = min(2 * self._pause, MAX_PAUSE_SECONDS)
        self._closed.clear()
        self._retry_at = time.monotonic() + self._pause

    def _recovered(self) -> None:
        if self.away:
            log.info("dependency.back", dependency=self.name)
        WAITING.labels(self.name).set(0)
        self._closed.set()
