"""What the logs of all runs say about which worker held which span when, and what was done repeatedly."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Final
from uuid import UUID

from core.frames import plan_span
from streams.records import LogRecord, SpanDone, SpanFailed, SpanTaken, Work, decode, decode_log
from tests.chaos.fleet import Disturbance
from tests.service.ledger import Ledger

SpanName = tuple[UUID, int, int]
"""Run, attempt and span."""

COMMIT_SECONDS: Final = 5.0
"""A sent result is acknowledged once those before it in its partition are, and committed every second; on a busy machine within this."""

ECHO: Final = "echo"
"""A header of records that the tests themselves have resent."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of a log, and when it was sent, in seconds since 1970."""

    record: LogRecord
    at: float


@dataclass(slots=True)
class Hold:
    """A span held by a worker, from ``span_taken`` until its result or its release; forever if neither comes."""

    worker: str
    began: float
    ended: float = float("inf")

    def is_of(self, pid: int) -> bool:
        return self.worker.endswith(f":{pid}")


@dataclass(frozen=True, slots=True)
class Rework:
    """How much was computed, and how much of that repeatedly; ``resent_spans`` are work records that were sent repeatedly."""

    spans: int
    rework_spans: int
    rework_pairs: int
    resent_spans: int

    def figures(self) -> dict[str, int]:
        return asdict(self)


@dataclass(slots=True)
class History:
    """The log of every run, decoded once. ``read`` adds what the ledger has read since, except echoes."""

    ledger: Ledger
    entries: list[Entry] = field(default_factory=list)
    holds: dict[SpanName, list[Hold]] = field(default_factory=lambda: defaultdict(list))
    done: dict[SpanName, list[SpanDone]] = field(default_factory=lambda: defaultdict(list))
    first_done: dict[SpanName, float] = field(default_factory=dict)
    _read: int = 0

    def read(self) -> None:
        records = self.ledger.records["inference.results"][self._read :]
        self._read += len(records)
        for record in records:
            if ECHO not in dict(record.headers):
                entry = Entry(decode_log(record.value), record.timestamp / 1000)
                self.entries.append(entry)
                self._note(entry)

    def held_by(self, pid: int, at: float) -> list[SpanName]:
        """The spans that a process had taken and not finished at a moment."""
        return [span for span, holds in self.holds.items() if any(hold.is_of(pid) and hold.began <= at <= hold.ended for hold in holds)]

    def takes_in_vain(self, span: SpanName) -> int:
        """How often a span has been taken without a result or a release."""
        return sum(hold.ended == float("inf") for hold in self.holds[span])

    def workers(self) -> set[str]:
        """All workers that have taken a span."""
        return {hold.worker for holds in self.holds.values() for hold in holds}

    def next(self, after: float, *kinds: str) -> float | None:
        """Seconds from a moment to the next record of these kinds."""
        return min((entry.at - after for entry in self.entries if entry.at > after and entry.record.kind in kinds), default=None)

    def check_rework(self, disturbances: Sequence[Disturbance]) -> Rework:
        """Check that a span was repeated no more often than it was resent or in flight while its workers were disturbed.

        Raises:
            AssertionError: a span was repeated more often; names the first one.
        """
        records = (*self.ledger.records["inference.work.high"], *self.ledger.records["inference.work.low"])
        sent = Counter((work.run_id, work.attempt, work.span) for work in (decode(Work, record.value) for record in records))
        of_workers = [disturbance for disturbance in disturbances if disturbance.role == "gpu"]
        self._end_holds([disturbance for disturbance in of_workers if disturbance.kind == "kill"])
        for span, results in self.done.items():
            resent = sent[span] - 1
            in_flight = sum(self._was_in_flight(span, disturbance) for disturbance in of_workers)
            extra = len(results) - 1
            assert extra <= resent + in_flight, f"{span} was done {extra} times more, sent {resent} times more, disturbed {in_flight} times"
        repeats = [result for results in self.done.values() for result in results[1:]]
        pairs = sum(plan_span(result.span, result.frame_count).pair_count for result in repeats)
        return Rework(len(self.done), len(repeats), pairs, sum(count - 1 for count in sent.values()))

    def _end_holds(self, kills: Sequence[Disturbance]) -> None:
        for kill in kills:
            for hold in (hold for holds in self.holds.values() for hold in holds if hold.is_of(kill.worker.pid)):
                hold.ended = min(hold.ended, kill.began)

    def _was_in_flight(self, span: SpanName, disturbance: Disturbance) -> bool:
        return any(hold.began <= disturbance.ended and hold.ended + COMMIT_SECONDS >= disturbance.began for hold in self.holds[span])

    def _note(self, entry: Entry) -> None:
        record = entry.record
        if not isinstance(record, SpanTaken | SpanDone | SpanFailed):
            return
        span = (record.run_id, record.attempt, record.span)
        if isinstance(record, SpanTaken):
            self.holds[span].append(Hold(record.worker, entry.at))
            return
        for hold in self.holds[span]:
            if hold.worker == record.worker:
                hold.ended = min(hold.ended, entry.at)
        if isinstance(record, SpanDone):
            self.done[span].append(record)
            self.first_done.setdefault(span, entry.at)
