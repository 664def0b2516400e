"""Records in the run's log what a worker does with a span."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from core.errors import PoisonError
from core.redaction import redact
from core.types import Priority
from streams.policy.dead_letters import parse_origin
from streams.publisher import Publisher
from streams.received import ReceivedRecord
from streams.records import Origin, SpanDone, SpanFailed, SpanTaken, Work
from streams.runtime.assignment import Assignment
from streams.runtime.tracing import current_trace

RELEASE_SECONDS = 5.0
"""Limit for recording the release of a started span when a rebalance interrupts it."""
RESULT_SECONDS = 60.0
"""Limit for sending a computed result after a rebalance has begun; the rebalance waits for it."""


MAX_TRIES: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class WorkDelivery:
    """A work record as received, with what its headers say about earlier deliveries.

    Attributes:
        tries: how often it was resent.
        not_before: the time until which it is delayed, in seconds since the epoch.
        origin: where it was first read.
        avoid: partitions of workers on which its model did not load.
    """

    record: ReceivedRecord
    priority: Priority
    tries: int
    not_before: float
    origin: Origin
    avoid: frozenset[int]

    @classmethod
    def of(cls, record: ReceivedRecord, priority: Priority) -> "WorkDelivery":
        """Raises: PoisonError: the headers cannot be parsed."""
        headers = record.headers
        try:
            origin = parse_origin(headers["origin"]) if "origin" in headers else record.origin
            avoid = frozenset(int(partition) for partition in headers.get("avoid", b"").split(b",") if partition)
            tries, not_before = int(headers.get("attempt", b"0")), float(headers.get("not_before", b"0"))
        except ValueError as error:
            raise PoisonError(f"delivery headers that cannot be read: {error}") from error
        if not 0 <= tries <= MAX_TRIES:
            raise PoisonError(f"delivery headers that cannot be read: attempt is {headers['attempt'][:40]!r}, expected 0 to {MAX_TRIES}")
        if not math.isfinite(not_before):
            raise PoisonError(f"delivery headers that cannot be read: not_before is {not_before}, expected seconds since the epoch")
        return cls(record, priority, tries, not_before, origin, avoid)


@dataclass(slots=True)
class SpanLog:
    """One span held by one worker while the assignment lasts.

    Attributes:
        taken: whether a take has been sent to the log, without a release after it.
    """

    publisher: Publisher
    worker: str
    work: Work
    delivery: WorkDelivery
    assignment: Assignment
    taken: bool = False

    async def take(self) -> None:
        """Record that the span is taken, with confirmation, unless a take has been sent already."""
        if self.taken:
            return
        self.assignment.check()  # a load that outlives its assignment must not take the span
        self.taken = True
        await self._log(SpanTaken(**self._span_fields(), **self._read_fields(), taken_at=datetime.now(UTC)))

    async def release(self, error: str) -> None:
        """Record that the take no longer counts, since the span did not kill this worker."""
        self.taken = False
        await self._log(SpanFailed(**self._span_fields(), failed_at=datetime.now(UTC), final=False, error=redact(error)), RELEASE_SECONDS)

    async def fail(self, error: str) -> None:
        """Fail the run. The finisher sends one dead letter for it, however many of its spans fail."""
        await self._log(
            SpanFailed(**self._span_fields(), **self._read_fields(), failed_at=datetime.now(UTC), final=True, error=redact(error))
        )

    async def done(self, result: SpanDone) -> None:
        """Record the result, with the trace that its reader continues."""
        trace = current_trace()
        await self._log(result, RESULT_SECONDS, trace.headers() if trace else None)

    async def _log(
        self, record: SpanTaken | SpanFailed | SpanDone, grace_seconds: float = 0.0, headers: Mapping[str, bytes] | None = None
    ) -> None:
        run_id = str(self.work.run_id)
        await self.publisher.append_to_run_log(self.assignment, run_id, record.to_bytes(), grace_seconds=grace_seconds, headers=headers)

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
