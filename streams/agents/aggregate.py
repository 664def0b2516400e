"""Folds ``inference.results`` into the state of each run. A record is acknowledged once its change is stored."""

from collections.abc import Awaitable
from dataclasses import dataclass, field

from core.errors import PoisonError
from core.logging import get_logger
from core.metrics import RESULT_RECORDS
from core.moments import utc
from streams.coordinator.finisher import Finisher
from streams.coordinator.gpu_speed import GpuSpeed
from streams.coordinator.progress import Progress
from streams.coordinator.run_metrics import count_record
from streams.coordinator.run_table import Runs
from streams.policy.dead_letters import dead_letter_of, unexpected_letter
from streams.policy.quarantine import QuarantineNotice, quarantine_notice
from streams.policy.record_failures import describe_failure
from streams.policy.results import pack_span
from streams.policy.run_log import Disposition, Folded, fold
from streams.policy.run_state import RunState
from streams.publisher import Publisher
from streams.received import ReceivedRecord
from streams.records import LogRecord, RunCancelled, RunFinished, RunJoined, RunStarted, SpanDone, decode_log
from streams.runtime.assignment import Assignment
from streams.runtime.tracing import begin, record_step
from streams.topics import DAY_MS

log = get_logger(__name__)

MARKER_KEPT_MS = 14 * DAY_MS
"""The retention of the results topic: until then, a late result or join may arrive."""
SWEEP_EVERY_MS = 3_600_000
SWEPT_AT_ONCE = 50
"""Markers that are checked with each record of a partition, so that a sweep of many markers does not delay other records."""


@dataclass(slots=True)
class Aggregation:
    runs: Runs
    finisher: Finisher
    progress: Progress
    publisher: Publisher
    gpu_speed: GpuSpeed
    _swept_ms: dict[int, int] = field(default_factory=dict)
    _to_sweep: dict[int, list[bytes]] = field(default_factory=dict)
    """By partition, the markers that the current sweep has not checked yet, the oldest last."""

    def handle(self, received: ReceivedRecord, assignment: Assignment) -> Awaitable[None]:
        """Fold one record now, in partition order. The returned awaitable waits until the change is stored.

        The table takes its partition from Faust's current event, so it is written before anything is awaited.
        """
        try:
            record = decode_log(received.value)
            before = self.runs.get(str(record.run_id))
            folded = self._fold(before, record, received)
        except PoisonError as error:
            return self._dead_letter(received, assignment, str(error))
        RESULT_RECORDS.labels(record.kind, folded.disposition).inc()
        if folded.disposition is not Disposition.COUNTED or folded.state is None:
            log.info("record.ignored", kind=record.kind, run_id=str(record.run_id), attempt=record.attempt, disposition=folded.disposition)
            # A change made before a rebalance may not be stored yet.
            return assignment.until_revoked(self.runs.confirmed())
        count_record(before, record, folded.state, received.timestamp_ms)
        if isinstance(record, SpanDone):
            self.gpu_speed.note(record)
        self._sweep(received.partition, received.timestamp_ms)
        self.progress.note(folded.state)
        self.finisher.notice(folded.state)
        notice = quarantine_notice(folded.state, record)
        if isinstance(record, SpanDone) and received.trace is not None:
            return self._store_result(received, record, assignment)
        return assignment.until_revoked(self.runs.confirmed()) if notice is None else self._quarantine(folded.state, notice, assignment)

    async def _store_result(self, received: ReceivedRecord, record: SpanDone, assignment: Assignment) -> None:
        """Wait until a result, which is in the table already, is stored. Only this wait is a step of its trace: folding takes no time."""
        with begin(record_step("aggregate", received)) as aggregating:
            aggregating.note(run_id=str(record.run_id), attempt=record.attempt, span=record.span)
            await assignment.until_revoked(self.runs.confirmed())

    async def _quarantine(self, state: RunState, notice: QuarantineNotice, assignment: Assignment) -> None:
        await assignment.until_revoked(self.runs.confirmed())
        log.warning("span.quarantined", **state.log_fields, span=notice.span)
        await self.publisher.notify_workers(assignment, notice)

    def _fold(self, before: RunState | None, record: LogRecord, received: ReceivedRecord) -> Folded:
        run_id = str(record.run_id)
        expected = self.publisher.topics.results_partition(run_id)
        if received.partition != expected:
            raise PoisonError(f"a record of run {run_id} is in partition {received.partition}; expected partition {expected}")
        folded = fold(before, record, received.offset, received.timestamp_ms)
        if isinstance(record, SpanDone) and folded.state is not None and self._lacks(folded.state, folded.disposition, record):
            self.runs.put_span(run_id, record.attempt, record.span, pack_span(record))
            self.finisher.notice(folded.state)
        if folded.disposition is not Disposition.COUNTED or folded.state is None:
            return folded
        if folded.stored is not None and isinstance(record, SpanDone):
            # Written before the state that counts it: if only one of the two is stored, redelivery of the record repairs it.
            self.runs.put_span(run_id, record.attempt, folded.stored, pack_span(record))
        self.runs.put(folded.state)
        for span in folded.dropped:
            assert before is not None
            self.runs.remove_span(run_id, before.attempt, span)
        return folded

    def _lacks(self, state: RunState, disposition: Disposition, record: SpanDone) -> bool:
        """Whether a result is counted but its probabilities are missing.

        A result makes two changes. That happens if the brokers stored only the second before a kill or a rebalance.
        """
        if disposition is not Disposition.REPEATED or state.started is None or record.span not in state.done:
            return False
        return record.pins() == state.started.pins() and not self.runs.has_span(state.run_id, record.attempt, record.span)

    def _sweep(self, partition: int, timestamp_ms: int) -> None:
        """Remove expired markers, oldest first, a few with each record. A sweep ends when a few are checked and none has expired.

        Uses the records' timestamps, so that a replayed log removes the same markers.
        """
        if timestamp_ms - self._swept_ms.setdefault(partition, timestamp_ms) >= SWEEP_EVERY_MS:
            self._swept_ms[partition] = timestamp_ms
            self._to_sweep[partition] = self.runs.markers(partition)[::-1]
        to_sweep = self._to_sweep.get(partition)
        if not to_sweep:
            return
        looked_at = [key.decode() for key in to_sweep[-SWEPT_AT_ONCE:]]
        expired = [run_id for run_id in looked_at if self._has_expired(run_id, timestamp_ms)]
        for run_id in expired:
            self.runs.remove(run_id)
        del to_sweep[-SWEPT_AT_ONCE:]
        if not expired:
            to_sweep.clear()

    def _has_expired(self, run_id: str, now_ms: int) -> bool:
        marker = self.runs.get(run_id)
        finished_at_ms = marker.finished_at_ms if marker is not None and marker.is_marker else None
        return finished_at_ms is not None and now_ms - finished_at_ms > MARKER_KEPT_MS

    async def give_up(self, received: ReceivedRecord, assignment: Assignment, error: Exception, tries: int) -> None:
        """Dead-letter a record that could not be folded and end its run, because nothing else would close the gap in the log."""
        await self.publisher.dead_letter(assignment, unexpected_letter(received, error, tries))
        try:
            record = decode_log(received.value)
        except PoisonError:
            return
        if isinstance(record, RunCancelled | RunFinished):  # this record was to end the run; another one would fail in the same way
            return
        ends: list[RunJoined | RunCancelled] = []
        if isinstance(record, RunStarted | RunJoined):
            ends.append(RunJoined(run_id=record.run_id, attempt=record.attempt, request=record.request))
        reason = f"a {record.kind} record of the run: {describe_failure(error, tries)}"
        moment = utc(received.timestamp_ms)
        ends.append(RunCancelled(run_id=record.run_id, attempt=record.attempt, reason=reason, cancelled_at=moment))
        for end in ends:
            await self.publisher.append_to_run_log(assignment, str(record.run_id), end.to_bytes())

    async def _dead_letter(self, received: ReceivedRecord, assignment: Assignment, error: str) -> None:
        log.error("record.poison", **received.log_fields, error=error)
        RESULT_RECORDS.labels("unknown", "poison").inc()
        await self.publisher.dead_letter(assignment, dead_letter_of(received, "poison", error))
