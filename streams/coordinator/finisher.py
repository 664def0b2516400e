"""Finishes runs that have an outcome: run database, object, rows, event, ``run_finished``. A bounded pool beside the streams.

No record waits for a run to finish: at a rebalance Faust waits for records in flight without a limit, so a record that waited
for the database would block the group. Every step may be repeated by any coordinator and produces the same bytes. Work stops
when the assignment is revoked, and the partition's new owner starts over.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from core.captions import find_captions
from core.errors import ConfigurationError, PermanentError
from core.logging import get_logger
from core.metrics import FINISH_DURATION
from core.moments import utc
from core.runs import FinishedRun, StoredRun
from core.trace_context import TraceContext, exemplar
from core.types import Outcome
from storage.keys import Keys
from storage.objects import ObjectStore
from storage.publish import publish_run
from storage.rows import Rows
from storage.run_db import build_run_db
from streams.coordinator.late_answers import LateAnswers
from streams.coordinator.run_metrics import count_outcome, count_result
from streams.coordinator.run_table import Runs
from streams.coordinator.run_trace import finishing_step
from streams.policy import outcomes
from streams.policy.dead_letters import DeadLetter, dead_letter
from streams.policy.outcomes import OutcomeEvent, RunIdentity
from streams.policy.record_failures import describe_failure, ends_process
from streams.policy.results import assemble
from streams.policy.run_state import RunState
from streams.processing.app import ExtentsApp
from streams.publisher import Publisher
from streams.records import Cancelled, RunFinished
from streams.runtime.assignment import Assignment, AssignmentRevoked
from streams.runtime.backoff import pause_after
from streams.runtime.circuit_breaker import CircuitBreaker
from streams.runtime.tracing import begin, current_trace, step

log = get_logger(__name__)

FINISH_TRIES = 3
"""Tries to finish a run if that fails unexpectedly, and then as many to announce it as failed. Then the next recovery tries again."""

FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 30.0
"""The longest pause between these tries."""


@dataclass(slots=True)
class Finisher:
    """Owned by the coordinator's event loop. ``notice`` is called after every change of a state and after every recovery."""

    app: ExtentsApp
    runs: Runs
    publisher: Publisher
    store: ObjectStore
    keys: Keys
    rows: Rows
    late: LateAnswers
    concurrency: int
    store_breaker: CircuitBreaker
    database_breaker: CircuitBreaker
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _answered: dict[str, tuple[int, set[UUID]]] = field(default_factory=dict)
    """For each run, the attempt whose ``run_finished`` was sent last and the requests it answers. Removed once a marker is stored."""
    _failures: dict[str, tuple[int, Exception]] = field(default_factory=dict)
    """For each run, how often finishing it failed unexpectedly, and the last error."""
    _slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.concurrency)

    def notice(self, state: RunState) -> None:
        """Start finishing a run that needs it, unless that is in progress."""
        if state.is_marker:
            self._answered.pop(state.run_id, None)
            self._failures.pop(state.run_id, None)
        if state.run_id in self._tasks or not self._is_due(state):
            return
        task = asyncio.create_task(self._finish(state, self.app.assignment))
        self._tasks[state.run_id] = task
        task.add_done_callback(lambda _: self._finished(state.run_id))

    def after_recovery(self) -> None:
        """Continue what the partitions' previous owners left unfinished."""
        self._answered.clear()
        self._failures.clear()
        for state in list(self.runs.active.values()):
            self.notice(state)

    def _is_due(self, state: RunState) -> bool:
        tries, _ = self._failures.get(state.run_id, (0, None))
        return tries < 2 * FINISH_TRIES and self._needs_notification(state) and self._has_results(state)

    def _needs_notification(self, state: RunState) -> bool:
        """Whether some requests have not been notified. This process knows what it sent before the log contains it."""
        attempt, answered = self._answered.get(state.run_id, (0, set()))
        if not state.needs_finishing or attempt != state.attempt:
            return state.needs_finishing
        if state.finished_at_ms is None:  # its end was sent and is folded next; requests that joined meanwhile are answered then
            return False
        return any(request.request_id not in answered for request in state.requests)

    def _has_results(self, state: RunState) -> bool:
        """Whether all results that a completed run needs are stored.

        A coordinator that lost its brokers may have stored a state but not the result it counts, or removed results without
        storing the marker. The record was not acknowledged then: it is redelivered, which stores the rest and calls ``notice``.
        """
        if state.outcome is not Outcome.COMPLETED or state.finished_at_ms is not None:
            return True
        missing = [span for span in range(state.spans) if not self.runs.has_span(state.run_id, state.attempt, span)]
        if missing:
            log.warning("run.results_missing", **state.log_fields, spans=missing)
        return not missing

    def _finished(self, run_id: str) -> None:
        del self._tasks[run_id]
        state = self.runs.active.get(run_id)
        if state is not None and not self.app.assignment.revoked:
            self.notice(state)

    async def _finish(self, state: RunState, assignment: Assignment) -> None:
        bound_log = log.bind(**state.log_fields, outcome=state.outcome)
        try:
            async with self._slots:
                assignment.check()
                current = self.runs.active.get(state.run_id)  # it may have changed or finished while this waited for a slot
                if current is None or not self._is_due(current):
                    return
                state = current
                started = time.monotonic()
                with begin(finishing_step(state)) as finishing:
                    finished = await self._announce(state, assignment)
                    await self.publisher.append_to_run_log(assignment, state.run_id, finished.to_bytes())
                    finishing.note(outcome=finished.outcome.value, reason=finished.reason)
            if state.run_id in self.runs.active:  # otherwise its end is folded already, and nothing would remove this entry
                attempt, answered = self._answered.get(state.run_id, (0, set()))
                before = answered if attempt == state.attempt else set()
                self._answered[state.run_id] = (state.attempt, before.union(finished.answered))
            FINISH_DURATION.observe(time.monotonic() - started, exemplar(state.run_id, state.trace))
            bound_log.info(
                "run.finished", reason=finished.reason, requests=len(finished.answered), seconds=round(time.monotonic() - started, 3)
            )
        except AssignmentRevoked:
            bound_log.info("run.handed_over")
        except Exception as error:
            if ends_process(error) or isinstance(error, MemoryError):
                bound_log.critical("finisher.crashed", error=repr(error), exc_info=error)
                await self.app.crash(error)
            else:
                await self._failed_to_finish(state, assignment, error)

    async def _failed_to_finish(self, state: RunState, assignment: Assignment, error: Exception) -> None:
        """Count the failure and pause. A run that cannot be finished must not end the process, neither now nor after each restart."""
        tries, _ = self._failures.get(state.run_id, (0, error))
        self._failures[state.run_id] = (tries + 1, error)
        log.error("finisher.failed", **state.log_fields, tries=tries + 1, limit=2 * FINISH_TRIES, error=repr(error), exc_info=error)
        with suppress(AssignmentRevoked):
            await assignment.until_revoked(asyncio.sleep(pause_after(tries + 1, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)))

    async def _announce(self, state: RunState, assignment: Assignment) -> RunFinished:
        answered = [request.request_id for request in state.requests]
        if state.finished_at_ms is not None:
            await self.late.answer(state, assignment)
            return RunFinished(
                run_id=UUID(state.run_id), attempt=state.attempt, outcome=_outcome(state), reason=state.reason, answered=answered
            )
        outcome, reason = _outcome(state), state.reason
        tries, error = self._failures.get(state.run_id, (0, None))
        if error is not None and tries >= FINISH_TRIES:
            outcome, reason = Outcome.FAILED, f"the result could not be finished: {describe_failure(error, tries)}"
        if outcome is Outcome.COMPLETED:
            try:
                await self._complete(state, assignment)
            except ConfigurationError:
                raise
            except PermanentError as error:
                outcome, reason = Outcome.FAILED, f"the result could not be stored: {error}"
        if outcome is not Outcome.COMPLETED:
            await self._fail(state, assignment, reason or outcome.value)
        count_outcome(state, outcome)
        return RunFinished(run_id=UUID(state.run_id), attempt=state.attempt, outcome=outcome, reason=reason, answered=answered)

    async def _complete(self, state: RunState, assignment: Assignment) -> None:
        """Store the object and read it back, then write the rows, then publish the event."""
        trace = current_trace()
        spans = [self.runs.get_span(state.run_id, state.attempt, span) for span in range(state.spans)]
        with step("assemble") as assembling:
            run, data, make_event = await assignment.until_revoked(asyncio.to_thread(_build, state, spans))
            assembling.note(pairs=run.pairs, size_bytes=len(data))
        with step("upload") as uploading:
            stored = await self.store_breaker.call(assignment, lambda: publish_run(self.store, self.keys, run, data))
            uploading.note(storage_key=stored.storage_key, size_bytes=stored.size_bytes)
        with step("rows"):
            completion = await self.database_breaker.call(assignment, lambda: self.rows.complete_run(run, stored))
        if completion.outcome != "owner":
            log.info("run.not_owner", **state.log_fields, rows=completion.outcome)
        with step("publish", topic=self.publisher.topics.completed):
            await self.publisher.publish_outcome(assignment, make_event(stored, trace))
        count_result(run, make_event.track)

    async def _fail(self, state: RunState, assignment: Assignment, reason: str) -> None:
        """Notify, then write the row last: it allows the next attempt, whose records replace this state."""
        trace = current_trace()
        cancelled = Cancelled(run_id=UUID(state.run_id), attempt=state.attempt, reason=reason)
        with step("publish", topic=self.publisher.topics.failed):
            await self.publisher.notify_workers(assignment, cancelled)
            letter = _letter(state)
            if letter is not None:
                await self.publisher.dead_letter(assignment, letter)
            identity = await self._identity(state, assignment)
            if identity is None:  # neither its log nor the database knows whose run it is
                log.error("run.unknown", **state.log_fields, reason=reason)
                return
            await self.publisher.publish_outcome(assignment, outcomes.failed(identity, state, reason, trace))
        ended_at = utc(state.outcome_at_ms or 0)
        with step("rows"):
            await self.database_breaker.call(assignment, lambda: self.rows.fail_run(UUID(state.run_id), state.attempt, reason, ended_at))

    async def _identity(self, state: RunState, assignment: Assignment) -> RunIdentity | None:
        """The run's identity from its log, or from its job if the run was cancelled before it started; None if there is no job."""
        started = state.started
        if started is None:
            return await self.late.identity(state, assignment)
        return RunIdentity(started.run_id, started.tenant_id, started.video_id, started.cropped_frames_version, started.model_version)


class _CompletedEvent:
    """Makes the completed event of a run once its storage location is known."""

    def __init__(self, state: RunState, run: FinishedRun) -> None:
        track = find_captions(run.probabilities)
        self.track = track
        self._state, self._run = state, run
        self._counts = {label.value: count for label, count in track.label_counts.items()}

    def __call__(self, stored: StoredRun, trace: TraceContext | None) -> OutcomeEvent:
        return outcomes.completed(self._state, self._run, stored, self._counts, len(self.track.captions), trace)


def _build(state: RunState, spans: list[bytes]) -> tuple[FinishedRun, bytes, _CompletedEvent]:
    """Build the run, the bytes of its database, and its event. Runs in a thread."""
    run = assemble(state, spans)
    make_event = _CompletedEvent(state, run)
    return run, build_run_db(run, make_event.track), make_event


def _letter(state: RunState) -> DeadLetter | None:
    failure = state.failure
    if failure is None or failure.origin is None or failure.work_value is None:
        return None
    key = None if failure.work_key is None else failure.work_key.encode()
    headers = {name: value.encode() for name, value in failure.work_headers.items()}
    return dead_letter(key, failure.work_value.encode(), headers, failure.origin, "span_failed", failure.error, failure.tries, state.run_id)


def _outcome(state: RunState) -> Outcome:
    if state.outcome is None:
        raise AssertionError(f"run {state.run_id} has no outcome")
    return state.outcome
