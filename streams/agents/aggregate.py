"""Folds ``inference.results`` into the state of each run, and acknowledges a record when the change it made is stored."""

from collections.abc import Awaitable
from dataclasses import dataclass, field

from faust.types import EventT

from core.errors import PoisonError
from core.logging import get_logger
from core.metrics import RESULT_RECORDS
from streams.announcer import Announcer
from streams.app import Tenure, record_headers
from streams.dead_letters import dead_letter
from streams.finisher import Finisher
from streams.progress import Progress
from streams.records import LogRecord, Origin, SpanDone, decode_log
from streams.results import pack_span
from streams.run_log import Disposition, Folded, RunState, fold
from streams.run_table import Runs
from streams.suspects import Suspected, suspicion
from streams.topics import DAY_MS

log = get_logger(__name__)

MARKER_KEPT_MS = 14 * DAY_MS
"""As long as the results topic keeps records: until then a result or a join can still come."""
SWEEP_EVERY_MS = 3_600_000


@dataclass(slots=True)
class Aggregation:
    runs: Runs
    finisher: Finisher
    progress: Progress
    announcer: Announcer
    _swept_ms: dict[int, int] = field(default_factory=dict)

    def handle(self, event: EventT[bytes], tenure: Tenure) -> Awaitable[None]:
        """Fold one record now, in the order of the partition; what is returned waits until the change is stored.

        The table takes its partition from the event at hand, so nothing is awaited before it is written.
        """
        message = event.message
        timestamp_ms = int(1000 * message.timestamp)
        try:
            record = decode_log(message.value)
            folded = self._fold(record, message.partition, message.offset, timestamp_ms)
        except PoisonError as error:
            return self._bury(event, tenure, str(error))
        RESULT_RECORDS.labels(record.kind, folded.disposition).inc()
        if folded.disposition is not Disposition.COUNTED or folded.state is None:
            log.info("record.ignored", kind=record.kind, run_id=str(record.run_id), attempt=record.attempt, disposition=folded.disposition)
            # What it changed when it was read before a rebalance may not be stored yet.
            return tenure.during(self.runs.confirmed())
        self._sweep(message.partition, timestamp_ms)
        self.progress.note(folded.state)
        self.finisher.notice(folded.state)
        suspected = suspicion(folded.state, record)
        return tenure.during(self.runs.confirmed()) if suspected is None else self._warn(folded.state, suspected, tenure)

    async def _warn(self, state: RunState, suspected: Suspected, tenure: Tenure) -> None:
        await tenure.during(self.runs.confirmed())
        log.warning("span.suspected", **state.log_fields, span=suspected.span)
        producer, topics = self.announcer.producer, self.announcer.topics
        await producer.send(tenure, topics.cancelled, str(suspected.run_id).encode(), suspected.to_bytes())

    def _fold(self, record: LogRecord, partition: int, offset: int, timestamp_ms: int) -> Folded:
        run_id = str(record.run_id)
        expected = self.announcer.topics.results_partition(run_id)
        if partition != expected:
            raise PoisonError(f"run {run_id} belongs to partition {expected}, found in {partition}")
        before = self.runs.get(run_id)
        folded = fold(before, record, offset, timestamp_ms)
        if isinstance(record, SpanDone) and folded.state is not None and self._lacks(folded.state, folded.disposition, record):
            self.runs.put_span(run_id, record.attempt, record.span, pack_span(record))
            self.finisher.notice(folded.state)
        if folded.disposition is not Disposition.COUNTED or folded.state is None:
            return folded
        if folded.stored is not None and isinstance(record, SpanDone):
            # Before the state that counts it: if only one of the two is stored, the record comes again and finds it undone.
            self.runs.put_span(run_id, record.attempt, folded.stored, pack_span(record))
        self.runs.put(folded.state)
        for span in folded.dropped:
            assert before is not None
            self.runs.remove_span(run_id, before.attempt, span)
        return folded

    def _lacks(self, state: RunState, disposition: Disposition, record: SpanDone) -> bool:
        """Whether a result counts already and its probabilities are not there.

        Of the two changes that a result makes, the brokers refused the first and took the second, before a kill or a rebalance.
        """
        if disposition is not Disposition.REPEATED or state.started is None or record.span not in state.done:
            return False
        return record.pins() == state.started.pins() and not self.runs.has_span(state.run_id, record.attempt, record.span)

    def _sweep(self, partition: int, timestamp_ms: int) -> None:
        """Forget markers that nothing can ask for any more; by the time of the records, so that a replayed log forgets alike."""
        if timestamp_ms - self._swept_ms.setdefault(partition, timestamp_ms) < SWEEP_EVERY_MS:
            return
        self._swept_ms[partition] = timestamp_ms
        for marker in self.runs.markers(partition):
            if marker.finished_at_ms is not None and timestamp_ms - marker.finished_at_ms > MARKER_KEPT_MS:
                self.runs.remove(marker.run_id)

    async def _bury(self, event: EventT[bytes], tenure: Tenure, error: str) -> None:
        message = event.message
        log.error("record.poison", topic=message.topic, partition=message.partition, offset=message.offset, error=error)
        RESULT_RECORDS.labels("unknown", "poison").inc()
        origin = Origin(topic=message.topic, partition=message.partition, offset=message.offset)
        await self.announcer.bury(tenure, dead_letter(message.key, message.value, record_headers(message), origin, "poison", error, 0))
