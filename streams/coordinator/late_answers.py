"""Answers requests that joined a run after its outcome was announced, when the log has kept only how it ended."""

from dataclasses import dataclass
from uuid import UUID

from core.errors import RefusedObjectError
from core.types import Outcome
from storage.rows import Rows
from streams.coordinator.found_runs import FoundRuns
from streams.policy import outcomes
from streams.policy.outcomes import RunIdentity
from streams.policy.run_log import RunState
from streams.publisher import Publisher
from streams.runtime.assignment import Assignment
from streams.runtime.circuit_breaker import CircuitBreaker


@dataclass(slots=True)
class LateAnswers:
    publisher: Publisher
    rows: Rows
    database_breaker: CircuitBreaker
    found_runs: FoundRuns

    async def answer(self, state: RunState, assignment: Assignment) -> None:
        """Publish an outcome for each waiting request: a deduplicated result for a completed run, the reason for a failed one."""
        run = await self.identity(state, assignment)
        summary, reason = None, state.reason or "the run's object is not in the store any more"
        if state.outcome is Outcome.COMPLETED:
            try:
                _, summary = await self.found_runs.find(
                    assignment, run.tenant_id, run.video_id, run.cropped_frames_version, run.model_version
                )
            except RefusedObjectError as error:
                reason = f"the run's object cannot be read any more: {error}"
        for request in state.requests:
            timestamp_ms = state.outcome_at_ms or 0
            if summary is not None:
                event = outcomes.deduplicated(summary, request, timestamp_ms)
            else:
                event = outcomes.failed_late(run, state, reason, request, timestamp_ms)
            await self.publisher.publish_outcome(assignment, event)

    async def identity(self, state: RunState, assignment: Assignment) -> RunIdentity:
        """The identity of a run whose state no longer holds, or never held, a ``run_started``. Read from its job."""
        job = await self.database_breaker.call(assignment, lambda: self.rows.find_job(UUID(state.run_id)))
        if job is None:
            raise AssertionError(f"run {state.run_id} has an outcome and no job")
        return RunIdentity(job.run_id, job.tenant_id, job.video_id, job.cropped_frames_version, job.model_version)
