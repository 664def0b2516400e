"""Finds a finished run that answers a request: its row, and the object that the row points to."""

from dataclasses import dataclass
from uuid import UUID

from core.logging import get_logger
from core.runs import RunRow
from storage.objects import ObjectStore
from storage.publish import verify_stored_run
from storage.rows import Rows
from streams.policy.outcomes import found_summary
from streams.records import InferenceCompleted
from streams.runtime.assignment import Assignment
from streams.runtime.circuit_breaker import CircuitBreaker

log = get_logger(__name__)


@dataclass(slots=True)
class FoundRuns:
    store: ObjectStore
    rows: Rows
    store_breaker: CircuitBreaker
    database_breaker: CircuitBreaker
    gpu_usd_per_hour: float

    async def find(
        self, assignment: Assignment, tenant: UUID, video: UUID, version: int, model: str
    ) -> tuple[RunRow | None, InferenceCompleted | None]:
        """Return the run row of a video, and the summary of the run.

        The summary is None if the row's object is missing; the row does not count then.
        """
        row = await self.database_breaker.call(assignment, lambda: self.rows.find_run(tenant, video, version, model))
        if row is None:
            return None, None
        stored = await self.store_breaker.call(assignment, lambda: verify_stored_run(self.store, row.storage_key, row.sha256))
        if stored is None:
            log.warning("run.object_gone", run_id=row.run_id, video_id=str(video), key=row.storage_key)
            return row, None
        gpu_seconds = stored.gpu_seconds or row.processing_time_seconds or 0.0
        counts = {label.value: count for label, count in stored.label_counts.items()}
        cost_usd = gpu_seconds / 3600 * self.gpu_usd_per_hour
        return row, found_summary(row, stored.attempt, counts, len(stored.track.captions), gpu_seconds, cost_usd)
