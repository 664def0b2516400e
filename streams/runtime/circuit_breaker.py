"""Retries transient errors with backoff and jitter, until the caller's assignment is revoked or a limit is reached."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from core.errors import ConfigurationError, PermanentError, TransientError
from core.logging import get_logger
from core.metrics import OUTAGES, RETRIES, WAITING
from streams.runtime.assignment import Assignment
from streams.runtime.backoff import Backoff

log = get_logger(__name__)

T = TypeVar("T")

FIRST_PAUSE_SECONDS: Final = 0.2
MAX_PAUSE_SECONDS: Final = 15.0
WATCH_SECONDS: Final = 10.0
"""Time between two probes of a watched dependency; short compared with a run's deadline."""


class CircuitBreaker:
    """Guards the calls to one external dependency, such as the database or the object store.

    ``probe`` tells an outage from a bad request. It runs after a call has failed and touches nothing that belongs to a record.
    If the probe succeeds, the error concerns that call alone, which pauses and is retried. If the probe fails, the breaker
    opens: all calls wait, and only the probe is sent, once after each pause.
    """

    def __init__(self, name: str, probe: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self.is_open = False
        self._probe = probe
        self._probing = asyncio.Lock()
        self._reachable_at = self._opened_at = self._retry_at = self._past_open_seconds = 0.0
        self._probe_backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        WAITING.labels(name).set(0)

    def wait_reason(self) -> str | None:
        """The reason to report in readiness; None while the breaker is closed."""
        return f"unreachable, probed again in {max(0.0, self._retry_at - time.monotonic()):.0f} s" if self.is_open else None

    @property
    def open_seconds(self) -> float:
        """Total time that this process has seen the dependency unreachable, including the current outage."""
        return self._past_open_seconds + (time.monotonic() - self._opened_at if self.is_open else 0.0)

    async def watch(self) -> None:
        """Probe regularly, so that an outage is noticed even when nothing calls the dependency. Runs until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self.is_open:
                await self._probe_until_closed()
            else:
                async with self._probing:
                    await self._probe_once()

    def check(self) -> None:
        """Raise an error during an outage. For periodic work that can be skipped.

        Raises:
            TransientError: the breaker is open.
        """
        if self.is_open:
            raise TransientError(f"{self.name}: {self.wait_reason()}")

    async def until_closed(self, assignment: Assignment) -> None:
        """Wait while the breaker is open.

        Raises:
            AssignmentRevoked: a rebalance or a shutdown began before the breaker closed.
        """
        if self.is_open:
            await assignment.until_revoked(self._probe_until_closed())

    async def call(self, assignment: Assignment, action: Callable[[], Awaitable[T]], limit_seconds: float | None = None) -> T:
        """Run ``action`` until it no longer raises TransientError.

        Raises:
            AssignmentRevoked: a rebalance or a shutdown began while waiting; the last attempt may have taken effect.
            PermanentError: the dependency refused this call, and the refusal concerns this call alone.
            ConfigurationError: the dependency refused the probe as well, so it would refuse every record.
            TransientError: the action failed for ``limit_seconds`` although the dependency was reachable.
        """
        failing_since, backoff = None, Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        while True:
            await self.until_closed(assignment)
            try:
                return await assignment.until_revoked(action())
            except TransientError as error:
                RETRIES.labels(self.name).inc()
                if not await assignment.until_revoked(self._is_reachable()):
                    # An outage does not count against the record.
                    failing_since, backoff = None, Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
                    continue
                now = time.monotonic() - self.open_seconds  # this clock stops while the breaker is open
                failing_since = now if failing_since is None else failing_since
                if limit_seconds is not None and now - failing_since >= limit_seconds:
                    raise
                pause = backoff.next_pause()
                log.warning("call.failed", dependency=self.name, error=str(error), pause_seconds=round(pause, 1))
            except PermanentError as error:
                # A subclass says what was refused. A plain PermanentError may concern every call: a wrong URL, a proxy's error page.
                if type(error) is not PermanentError or await assignment.until_revoked(self._concerns_call(error)):
                    raise
                continue
            await assignment.until_revoked(asyncio.sleep(pause))

    async def _is_reachable(self) -> bool:
        """Whether the dependency answers after a call has failed. Calls that fail at the same time share one probe."""
        if self.is_open:  # another call has noticed the outage and is probing
            return False
        failed_at = time.monotonic()
        async with self._probing:
            if not self.is_open and self._reachable_at < failed_at:
                await self._probe_once()
            return not self.is_open

    async def _concerns_call(self, error: PermanentError) -> bool:
        """Whether a refusal concerns the refused call alone; False if the dependency has become unreachable.

        Raises:
            ConfigurationError: the dependency refuses the probe as well.
        """
        try:
            await self._probe()
        except TransientError as probe_error:
            async with self._probing:
                self._probe_failed(probe_error)
            return False
        except PermanentError as refusal:
            raise ConfigurationError(f"{refusal}; the probe was refused too, so no record is at fault for: {error}") from refusal
        return True

    async def _probe_until_closed(self) -> None:
        """Probe after each pause until the dependency answers. One waiting call probes for all; if it is cancelled, another takes over."""
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
            log.warning("probe.refused", dependency=self.name, error=str(error))  # an error response is still a response
        self._reachable_at = started
        if self.is_open:
            outage = time.monotonic() - self._opened_at
            self.is_open, self._past_open_seconds = False, self._past_open_seconds + outage
            WAITING.labels(self.name).set(0)
            log.info("dependency.recovered", dependency=self.name, outage_seconds=round(outage, 1))

    def _probe_failed(self, error: TransientError) -> None:
        if not self.is_open:
            self.is_open, self._opened_at = True, time.monotonic()
            self._probe_backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
            WAITING.labels(self.name).set(1)
            OUTAGES.labels(self.name).inc()
            log.warning("dependency.unreachable", dependency=self.name, error=str(error))
        self._retry_at = time.monotonic() + self._probe_backoff.next_pause()
