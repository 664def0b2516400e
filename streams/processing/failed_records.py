"""Retries a record whose handler raises an unexpected error, and finally gives it up, so that the next record can be handled.

Failed tries are counted in the note of the group's committed offset before the record is retried. After a kill, a crash or a
rebalance between two tries, the process that reads the record next continues the count.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from faust.types import TP

from core.logging import get_logger
from core.metrics import RECORD_FAILURES
from core.settings import ProcessSettings
from streams.policy.record_failures import FailureLimit, FailurePolicy, PartitionFailures, TooManyFailuresError, ends_process
from streams.processing.app import ExtentsApp
from streams.received import ReceivedRecord
from streams.runtime.assignment import Assignment, AssignmentRevoked
from streams.runtime.backoff import pause_after

log = get_logger(__name__)

GiveUp = Callable[[ReceivedRecord, Assignment, Exception, int], Awaitable[None]]
"""Publishes the dead letter and the outcome of a record that failed too often. May be called again for the same record."""

FIRST_PAUSE_SECONDS: Final = 0.5
MAX_PAUSE_SECONDS: Final = 30.0


def failure_policy(settings: ProcessSettings) -> FailurePolicy:
    return FailurePolicy(settings.unexpected_tries, settings.unexpected_in_a_row, settings.unexpected_per_thousand)


class FailedRecords:
    """The failing records of one topic."""

    def __init__(self, app: ExtentsApp, policy: FailurePolicy, give_up: GiveUp) -> None:
        self._app, self._policy, self._give_up = app, policy, give_up
        self._limit = FailureLimit(policy)

    def handled(self, record: ReceivedRecord) -> None:
        """Note that a record was handled without an error."""
        self._limit.handled()
        tp = _partition_of(record)
        failures = self._of(tp)
        if (after := failures.handled(record.offset)) is not failures:
            self._app.failures[tp] = after

    async def settle(self, record: ReceivedRecord, assignment: Assignment, error: Exception, handle: Callable[[], Awaitable[None]]) -> None:
        """Retry a record until it is handled or given up.

        Args:
            error: the error that its handler has just raised.
            handle: handles the record once more.

        Raises:
            AssignmentRevoked: the assignment ended first; the failed tries are counted, and the record will be redelivered.
            TooManyFailuresError: too many records of the topic have failed.
            Exception: the error itself, if it is about the settings, the machine or its memory.
        """
        while True:
            if ends_process(error):
                raise error
            tries = await self._note(record, assignment, error)
            if tries >= self._policy.tries:
                break
            if isinstance(error, MemoryError):
                raise error  # a new process starts with free memory; the count outlives this one
            await assignment.until_revoked(asyncio.sleep(pause_after(tries, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)))
            try:
                await handle()
            except AssignmentRevoked:
                raise
            except Exception as raised:
                error = raised
            else:
                self.handled(record)
                return
        await self._dead_letter(record, assignment, error, tries)

    async def _note(self, record: ReceivedRecord, assignment: Assignment, error: Exception) -> int:
        """Count a failed try, with confirmation. Returns the number of failed tries."""
        tp = _partition_of(record)
        failures = self._app.failures[tp] = self._of(tp).failed(record.offset)
        tries = failures.tries[record.offset]
        RECORD_FAILURES.labels(record.topic).inc()
        log.error("record.failed", **record.log_fields, tries=tries, limit=self._policy.tries, error=repr(error), exc_info=error)
        await assignment.until_revoked(self._app.commit_failures(tp, record.offset))
        return tries

    async def _dead_letter(self, record: ReceivedRecord, assignment: Assignment, error: Exception, tries: int) -> None:
        tp = _partition_of(record)
        try:
            self._limit.check(self._of(tp).in_a_row, record.topic, error)
        except TooManyFailuresError as too_many:
            raise too_many from error
        await self._give_up(record, assignment, error, tries)
        self._limit.gave_up()
        self._app.failures[tp] = self._of(tp).gave_up(record.offset)
        log.error("record.given_up", **record.log_fields, tries=tries, error=repr(error))

    def _of(self, tp: TP) -> PartitionFailures:
        return self._app.failures.get(tp, PartitionFailures())


def _partition_of(record: ReceivedRecord) -> TP:
    return TP(record.topic, record.partition)
