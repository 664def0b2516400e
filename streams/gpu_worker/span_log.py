"""What the log of a run is told about a span while a worker has it in hand."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.errors import PoisonError
from core.types import Priority
from streams.policy.dead_letters import parse_origin
from streams.publisher import Publisher
from streams.received import ReceivedRecord
from streams.records import Origin, SpanDone, SpanFailed, SpanTaken, Work
from streams.runtime.assignment import Assignment

RELEASE_SECONDS = 5.0
"""A started span that a rebalance interrupts is noted as handed back, if that takes no longer."""
RESULT_SECONDS = 60.0
"""So long may a computed result still be sent when a rebalance has begun: the join waits for it."""


@dataclass(frozen=True, slots=True)
class WorkDelivery:
    """A work record as it was read: how often it was delivered before, and where it was first.

    Attributes:
        avoid: partitions of the workers on which its model did not load.
    """

    record: ReceivedRecord
    priority: Priority
    tries: int
    not_before: float
    origin: Origin
    avoid: frozenset[int]

    @classmethod
    def of(cls, record: ReceivedRecord, priority: Priority) -> "WorkDelivery":
        """Raises: PoisonError: headers that cannot be read."""
        headers = record.headers
        try:
            origin = parse_origin(headers["origin"]) if "origin" in headers else record.origin
            avoid = frozenset(int(partition) for partition in headers.get("avoid", b"").split(b",") if partition)
            return cls(record, priority, int(headers.get("attempt", b"0")), float(headers.get("not_before", b"0")), origin, avoid)
        except ValueError as error:
            raise PoisonError(f"delivery headers that cannot be read: {error}") from error


@dataclass(slots=True)
class SpanLog:
    """One span in one worker's hands, for as long as the assignment lasts.

    Attributes:
        taken: a take is in the log, or on its way there, and neither a result nor a hand-back has followed it.
    """

    publisher: Publisher
    worker: str
    work: Work
    delivery: WorkDelivery
    assignment: Assignment
    taken: bool = False

    async def take(self) -> None:
        """Note that it is taken, confirmed, unless that is in the log already."""
        if self.taken:
            return
        self.assignment.check()  # a load that outlives its assignment takes nothing
        self.taken = True
        await self._log(SpanTaken(**self._span_fields(), **self._read_fields(), taken_at=datetime.now(UTC)))

    async def release(self, error: str) -> None:
        """Have its take counted no more: it has not ended this worker."""
        self.taken = False
        await self._log(SpanFailed(**self._span_fields(), failed_at=datetime.now(UTC), final=False, error=error), RELEASE_SECONDS)

    async def fail(self, error: str) -> None:
        """Fail the run. Its dead letter is sent by whoever finishes it: one, however many of its spans fail."""
        await self._log(SpanFailed(**self._span_fields(), **self._read_fields(), failed_at=datetime.now(UTC), final=True, error=error))

    async def done(self, result: SpanDone) -> None:
        await self._log(result, RESULT_SECONDS)

    async def _log(self, record: SpanTaken | SpanFailed | SpanDone, grace_seconds: float = 0.0) -> None:
        await self.publisher.append_to_run_log(self.assignment, str(self.work.run_id), record.to_bytes(), grace_seconds=grace_seconds)

    def _span_fields(self) -> dict[str, Any]:
        return {"run_id": self.work.run_id, "attempt": self.work.attempt, "span": self.work.span, "worker": self.worker}

    def _read_fields(self) -> dict[str, Any]:
        record = self.delivery.record
        return {
            "tries": self.delivery.tries,
            "origin": self.delivery.origin,
            "work_key": None if record.key is None else record.key.decode(errors="replace"),
            "work_headers": {name: value.decode(errors="replace") for name, value in record.headers.items()},
            "work_value": (record.value or b"").decode(),
        }
