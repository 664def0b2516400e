"""Sends ``deadline_passed`` for runs past their deadline. The record in the run's log decides, not this clock.

Outages of the object store do not count against a run, as far as this process has seen them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from aiokafka.errors import KafkaError

from core.logging import get_logger
from core.moments import utc
from streams.coordinator.run_table import Runs
from streams.policy.run_log import deadline_ms, untaken_seconds
from streams.policy.run_state import RunState
from streams.processing.app import ExtentsApp
from streams.publisher import Publisher
from streams.records import DeadlinePassed, RunCancelled
from streams.runtime.assignment import AssignmentRevoked
from streams.runtime.circuit_breaker import CircuitBreaker

log = get_logger(__name__)

LOOK_EVERY_SECONDS = 1.0


class Deadlines:
    """Fails a run only after its log has been folded up to the end that it had when the deadline passed: its last span may be there.

    ``handled_to`` returns the offset up to which the records of a partition have been folded.
    """

    def __init__(
        self, app: ExtentsApp, runs: Runs, publisher: Publisher, handled_to: Callable[[int], Awaitable[int]], store_breaker: CircuitBreaker
    ) -> None:
        self._app, self._runs, self._publisher, self._handled_to, self._store_breaker = app, runs, publisher, handled_to, store_breaker
        self._open_seconds_before: dict[tuple[str, int], float] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self._sent: set[tuple[str, int]] = set()

    async def run(self) -> None:
        """Check the runs of the assigned partitions once a second. Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            now_ms = int(1000 * time.time())
            try:
                for state in self._due(now_ms):
                    await self._consider(state, now_ms)
            except AssignmentRevoked:
                self._ends.clear()
            except KafkaError as error:
                log.info("deadlines.postponed", error=repr(error))

    def _due(self, now_ms: int) -> list[RunState]:
        open_seconds = self._store_breaker.open_seconds
        timed = {(state.run_id, state.attempt): (state, due_ms) for state in self._runs.active.values() if (due_ms := deadline_ms(state))}
        self._sent &= timed.keys()
        self._ends = {name: end for name, end in self._ends.items() if name in timed}
        self._open_seconds_before = {name: self._open_seconds_before.get(name, open_seconds) for name in timed}
        return [
            state for name, (state, due_ms) in timed.items() if due_ms + 1000 * (open_seconds - self._open_seconds_before[name]) <= now_ms
        ]

    async def _consider(self, state: RunState, now_ms: int) -> None:
        name, assignment = (state.run_id, state.attempt), self._app.assignment
        assignment.check()
        if name in self._sent:
            return
        topics = self._publisher.topics
        partition = topics.results_partition(state.run_id)
        if name not in self._ends:
            self._ends[name] = await assignment.until_revoked(self._app.end_offset(topics.results, partition))
        if await assignment.until_revoked(self._handled_to(partition)) < self._ends[name]:
            return
        log.warning("run.deadline_passed", **state.log_fields, spans_done=len(state.done), spans=state.spans)
        await self._publisher.append_to_run_log(assignment, state.run_id, _end(state, utc(now_ms)).to_bytes())
        self._sent.add(name)


def _end(state: RunState, now: datetime) -> DeadlinePassed | RunCancelled:
    """The record that ends the run. A run that was joined and never started has no deadline in its log."""
    if state.started is not None:
        return DeadlinePassed(run_id=UUID(state.run_id), attempt=state.attempt, passed_at=now)
    reason = f"its run_started record did not arrive within {untaken_seconds(state)} s"
    return RunCancelled(run_id=UUID(state.run_id), attempt=state.attempt, reason=reason, cancelled_at=now)
