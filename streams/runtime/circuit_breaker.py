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
        self.is_open = False
        self._probe = probe
        self._probing = asyncio.Lock()
        self._reachable_at = self._opened_at = self._retry_at = self._past_open_seconds = 0.0
        self._pause = FIRST_PAUSE_SECONDS

    def wait_reason(self) -> str | None:
        """What to say of it in readiness."""
        return f"unreachable, probed again in {max(0.0, self._retry_at - time.monotonic()):.0f} s" if self.is_open else None

    @property
    def open_seconds(self) -> float:
        """How long it has been away in all, as far as this process knows, the present outage included."""
        return self._past_open_seconds + (time.monotonic() - self._opened_at if self.is_open else 0.0)

    async def watch(self) -> None:
        """Probe it now and then, so that an outage is noticed when nobody calls it, too; ends by being cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self.is_open:
                await self._probe_until_closed()
            else:
                async with self._probing:
                    await self._probe_once()

    async def until_closed(self, assignment: Assignment) -> None:
        """Wait while it is away.

        Raises:
            AssignmentRevoked: a rebalance or a stop began before it was back.
        """
        if self.is_open:
            await assignment.until_revoked(self._probe_until_closed())

    async def call(self, assignment: Assignment, action: Callable[[], Awaitable[T]], limit_seconds: float | None = None) -> T:
        """Run ``action`` until it does not raise TransientError.

        Raises:
            AssignmentRevoked: a rebalance or a stop began while waiting; the last try may have had its effect.
            TransientError: it failed for ``limit_seconds``, though the dependency itself answered all that time.
        """
        failing_since, pause = None, FIRST_PAUSE_SECONDS
        while True:
            await self.until_closed(assignment)
            try:
                return await assignment.until_revoked(action())
            except TransientError as error:
                RETRIES.labels(self.name).inc()
                if not await assignment.until_revoked(self._is_reachable()):
                    failing_since, pause = None, FIRST_PAUSE_SECONDS  # an outage counts against no record
                    continue
                now = time.monotonic() - self.open_seconds  # stands still while it is away
                failing_since = now if failing_since is None else failing_since
                if limit_seconds is not None and now - failing_since >= limit_seconds:
                    raise
                log.warning("call.failed", dependency=self.name, error=str(error), pause_seconds=pause)
            await assignment.until_revoked(asyncio.sleep(_with_jitter(pause)))
            pause = min(2 * pause, MAX_PAUSE_SECONDS)

    async def _is_reachable(self) -> bool:
        """Whether it answers, now that a call has failed. Calls that fail together share one answer."""
        if self.is_open:  # others have noticed already, and one of them is asking
            return False
        failed_at = time.monotonic()
        async with self._probing:
            if not self.is_open and self._reachable_at < failed_at:
                await self._probe_once()
            return not self.is_open

    async def _probe_until_closed(self) -> None:
        """Ask after each pause until it answers: one for all that wait, and another goes on when that one's assignment ends."""
        async with self._probing:
            while self.is_open:
                await asyncio.sleep(max(0.0, self._retry_at - time.monotonic()))
                await self._probe_once()

    async def _probe_once(self) -> None:
        started = time.monotonic()
        try:
            await self._probe()
        except TransientError as error:
            self._probe_failed(error)
            return
        except PermanentError as error:
            log.warning("probe.refused", dependency=self.name, error=str(error))  # an answer, if not the one hoped for
        self._reachable_at = started
        if self.is_open:
            outage = time.monotonic() - self._opened_at
            self.is_open, self._past_open_seconds = False, self._past_open_seconds + outage
            WAITING.labels(self.name).set(0)
            log.info("dependency.recovered", dependency=self.name, outage_seconds=round(outage, 1))

    def _probe_failed(self, error: TransientError) -> None:
        if self.is_open:
            self._pause = min(2 * self._pause, MAX_PAUSE_SECONDS)
        else:
            self.is_open, self._opened_at, self._pause = True, time.monotonic(), FIRST_PAUSE_SECONDS
            WAITING.labels(self.name).set(1)
            log.warning("dependency.unreachable", dependency=self.name, error=str(error))
        self._retry_at = time.monotonic() + _with_jitter(self._pause)


def _with_jitter(pause_seconds: float) -> float:
    """Somewhat longer, so that those who fail together do not try again together."""
    return pause_seconds * random.uniform(1.0, 1.3)  # noqa: S311 - no secret
