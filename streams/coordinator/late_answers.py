"""Answers requests that joined a run after its outcome was announced, when the log has kept only how it ended."""

from dataclasses import dataclass
from uuid import UUID

from core.errors import RefusedObjectError
from core.logging import get_logger
from core.types import Outcome
from storage.row_values import JobRow
from storage.rows import Rows
from streams.coordinator.found_runs import FoundRuns
from streams.coordinator.lost_rows import LostRows
from streams.policy import outcomes
from streams.policy.outcomes import RunIdentity
from streams.policy.run_state import RunState
from streams.publisher import Publisher
from streams.records import RequestRef
from streams.runtime.assignment import Assignment
from streams.runtime.circuit_breaker import CircuitBreaker

log = get_logger(__name__)


@dataclass(slots=True)
class LateAnswers:
    publisher: Publisher
    rows: Rows
    database_breaker: CircuitBreaker
    found_runs: FoundRuns
    lost_rows: LostRows

    async def answer_repeated(self, job: JobRow, request: RequestRef, timestamp_ms: int, assignment: Assignment) -> None:
        """Answer a request that joined a run whose job has ended, and whose log may have forgotten it."""
        outcome = Outcome.COMPLETED if job.status == "completed" else Outcome.FAILED
        state = RunState(run_id=str(job.run_id), attempt=job.attempt, offset=0, requests=[request], outcome=outcome)
        ended = {"outcome_at_ms": timestamp_ms, "finished_at_ms": timestamp_ms, "reason": job.error_message}
        await self.answer(state.model_copy(update=ended), assignment)

    async def answer(self, state: RunState, assignment: Assignment) -> None:
        """Publish an outcome for each waiting request: a deduplicated result for a completed run, the reason for a failed one."""
        job = await self._job(state, assignment)
        if job is None:
            log.error("run.unknown", **state.log_fields, requests=len(state.requests))
            return
        lost = await self.lost_rows.restore(state, job, assignment)
        run = _identity(job)
        summary, reason = None, state.reason or lost or "the run's object is no longer in the store"
        if state.outcome is Outcome.COMPLETED:
            try:
                _, summary = await self.found_runs.find(
                    assignment, run.tenant_id, run.video_id, run.cropped_frames_version, run.model_version
                )
            except RefusedObjectError as error:
                reason = f"the run's object can no longer be read: {error}"
        for request in state.requests:
            timestamp_ms = state.outcome_at_ms or 0
            if summary is not None:
                event = outcomes.deduplicated(summary, request, timestamp_ms)
            else:
                event = outcomes.failed_late(run, state, reason, request, timestamp_ms)
            await self.publisher.publish_outcome(assignment, event)

    async def identity(self, state: RunState, assignment: Assignment) -> RunIdentity | None:
        """Read the identity of a run from its job, because its state has no ``run_started``; None without a job."""
        job = await self._job(state, assignment)
        return None if job is None else _identity(job)

    async def _job(self, state: RunState, assignment: Assignment) -> JobRow | None:
        return await self.database_breaker.call(assignment, lambda: self.rows.find_job(UUID(state.run_id)))


def _identity(job: JobRow) -> RunIdentity:
    return RunIdentity(job.run_id, job.tenant_id, job.video_id, job.cropped_frames_version, job.model_version)
