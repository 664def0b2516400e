"""Trying again what may pass: with backoff and jitter, for as long as the caller's assignment lasts or a limit allows."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from core.errors import PermanentError, TransientError
from core.logging import get_logger
from core.metrics import RETRIES, WAITING
from streams.runtime.assignment import Assignment

log = get_logger(__name__)

T = TypeVar("T")

FIRST_PAUSE_SECONDS: Final = 0.2
MAX_PAUSE_SECONDS: Final = 15.0
WATCH_SECONDS: Final = 10.0
"""Between two probes of a dependency that is watched: small beside a deadline."""


class CircuitBreaker:
    """Something outside this process that can be away: a database, a store.

    ``probe`` asks it for something that has nothing to do with any record, and so tells whom an error is about: it is asked
    when a call has failed. Where it answers, the error is about that call, which alone pauses and tries again. Where it does
    not, the dependency is away: all calls wait, and nothing goes out but one probe after each pause.
    """

    def __init__(self, name: str, probe: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self.away = False
        self._probe = probe
        self._asking = asyncio.Lock()
        self._answered_at = self._away_since = self._retry_at = self._past_outages = 0.0
        self._pause = FIRST_PAUSE_SECONDS

    def waited_for(self) -> str | None:
        """What to say of it in readiness."""
        return f"away, tried again in {max(0.0, self._retry_at - time.monotonic()):.0f} s" if self.away else None

    @property
    def away_seconds(self) -> float:
        """How long it has been away in all, as far as this process knows, the present outage included."""
        return self._past_outages + (time.monotonic() - self._away_since if self.away else 0.0)

    async def watch(self) -> None:
        """Probe it now and then, so that an outage is noticed when nobody calls it, too; ends by being cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self.away:
                await self._until_back()
            else:
                async with self._asking:
                    await self._ask()

    async def back(self, assignment: Assignment) -> None:
        """Wait while it is away.

        Raises:
            AssignmentRevoked: a rebalance or a stop began before it was back.
        """
        if self.away:
            await assignment.until_revoked(self._until_back())

    async def call(self, assignment: Assignment, action: Callable[[], Awaitable[T]], limit_seconds: float | None = None) -> T:
        """Run ``action`` until it does not raise TransientError.

        Raises:
            AssignmentRevoked: a rebalance or a stop began while waiting; the last try may have had its effect.
            TransientError: it failed for ``limit_seconds``, though the dependency itself answered all that time.
        """
        failing_since, pause = None, FIRST_PAUSE_SECONDS
        while True:
            await self.back(assignment)
            try:
                return await assignment.until_revoked(action())
            except TransientError as error:
                RETRIES.labels(self.name).inc()
                if not await assignment.until_revoked(self._answers()):
                    failing_since, pause = None, FIRST_PAUSE_SECONDS  # an outage counts against no record
                    continue
                now = time.monotonic() - self.away_seconds  # stands still while it is away
                failing_since = now if failing_since is None else failing_since
                if limit_seconds is not None and now - failing_since >= limit_seconds:
                    raise
                log.warning("call.failed", dependency=self.name, error=str(error), pause_seconds=pause)
            await assignment.until_revoked(asyncio.sleep(_with_jitter(pause)))
            pause = min(2 * pause, MAX_PAUSE_SECONDS)

    async def _answers(self) -> bool:
        """Whether it answers, now that a call has failed. Calls that fail together share one answer."""
        if self.away:  # others have noticed already, and one of them is asking
            return False
        failed_at = time.monotonic()
        async with self._asking:
            if not self.away and self._answered_at < failed_at:
                await self._ask()
            return not self.away

    async def _until_back(self) -> None:
        """Ask after each pause until it answers: one for all that wait, and another goes on when that one's assignment ends."""
        async with self._asking:
            while self.away:
                await asyncio.sleep(max(0.0, self._retry_at - time.monotonic()))
                await self._ask()

    async def _ask(self) -> None:
        began = time.monotonic()
        try:
            await self._probe()
        except TransientError as error:
            self._silent(error)
            return
        except PermanentError as error:
            log.warning("probe.refused", dependency=self.name, error=str(error))  # an answer, if not the one hoped for
        self._answered_at = began
        if self.away:
            outage = time.monotonic() - self._away_since
            self.away, self._past_outages = False, self._past_outages + outage
            WAITING.labels(self.name).set(0)
            log.info("dependency.back", dependency=self.name, away_seconds=round(outage, 1))

    def _silent(self, error: TransientError) -> None:
        if self.away:
            self._pause = min(2 * self._pause, MAX_PAUSE_SECONDS)
        else:
            self.away, self._away_since, self._pause = True, time.monotonic(), FIRST_PAUSE_SECONDS
            WAITING.labels(self.name).set(1)
            log.warning("dependency.away", dependency=self.name, error=str(error))
        self._retry_at = time.monotonic() + _with_jitter(self._pause)


def _with_jitter(pause_seconds: float) -> float:
    """Somewhat longer, so that those who fail together do not try again together."""
    return pause_seconds * random.uniform(1.0, 1.3)  # noqa: S311 - no secret
