"""Restores the rows of a run that ended before its database was lost and rebuilt. The log and the store still know the run."""

from dataclasses import dataclass
from uuid import UUID

from core.errors import RefusedObjectError
from core.logging import get_logger
from core.moments import utc
from core.runs import FinishedRun, StoredRun
from core.types import Outcome
from storage.keys import Keys
from storage.objects import ObjectStore
from storage.publish import find_stored_run
from storage.row_values import JobRow
from storage.rows import Rows
from storage.run_db_reader import RunDatabase
from streams.policy.run_state import RunState
from streams.runtime.assignment import Assignment
from streams.runtime.circuit_breaker import CircuitBreaker

log = get_logger(__name__)


@dataclass(slots=True)
class LostRows:
    store: ObjectStore
    keys: Keys
    rows: Rows
    store_breaker: CircuitBreaker
    database_breaker: CircuitBreaker

    async def restore(self, state: RunState, job: JobRow, assignment: Assignment) -> str | None:
        """End a job whose run has already ended. A job that has ended is left alone.

        Returns:
            Why the job was failed; None if it was left alone or its result was restored.
        """
        if job.status not in ("queued", "running") or job.attempt > state.attempt:
            return None
        reason = state.reason or "the run had completed, and its object is no longer in the store; request it again"
        if state.outcome is Outcome.COMPLETED:
            try:
                if await self._restore_result(state, job, assignment):
                    return None
            except RefusedObjectError as error:
                reason = f"the run had completed, and its object can no longer be read: {error}"
        ended_at = utc(state.outcome_at_ms or 0)
        await self.database_breaker.call(assignment, lambda: self.rows.fail_run(UUID(state.run_id), job.attempt, reason, ended_at))
        log.warning("run.job_restored", **state.log_fields, reason=reason)
        return reason

    async def _restore_result(self, state: RunState, job: JobRow, assignment: Assignment) -> bool:
        """Write the rows of a completed run from its object; False if the object is missing.

        Raises:
            RefusedObjectError: the store refuses access to it.
        """
        key = self.keys.run_db(job.tenant_id, job.video_id, job.cropped_frames_version, job.model_version, job.run_id)
        present = await self.store_breaker.call(assignment, lambda: find_stored_run(self.store, key, job.run_id))
        if present is None:
            return False
        run, stored = _finished(job, *present), present[1]
        await self.database_breaker.call(assignment, lambda: self.rows.complete_run(run, stored))
        log.warning("run.row_restored", **state.log_fields, key=key)
        return True


def _finished(job: JobRow, database: RunDatabase, stored: StoredRun) -> FinishedRun:
    return FinishedRun(
        run_id=job.run_id,
        attempt=max(job.attempt, stored.attempt),
        request_id=job.request_id,
        tenant_id=job.tenant_id,
        video_id=job.video_id,
        cropped_frames_version=job.cropped_frames_version,
        model_version=job.model_version,
        model_checkpoint_path=database.model_checkpoint_path or "",
        started_at=database.started_at,
        completed_at=database.completed_at,
        processing_time_seconds=database.processing_time_seconds or 0.0,
        gpu_seconds=database.gpu_seconds or database.processing_time_seconds or 0.0,
        provenance=database.provenance,
        probabilities=database.probabilities,
        pair_milliseconds=database.pair_milliseconds,
    )
