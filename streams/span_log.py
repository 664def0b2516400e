"""What the log of a run is told about a span while a worker has it in hand."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from faust.types import Message

from core.errors import PoisonError
from core.types import Priority
from streams.announcer import Announcer
from streams.app import Tenure, record_headers
from streams.dead_letters import parse_origin
from streams.records import Origin, SpanDone, SpanFailed, SpanTaken, Work

HAND_BACK_SECONDS = 5.0
"""A started span that a rebalance interrupts is noted as handed back, if that takes no longer."""
RESULT_SECONDS = 60.0
"""So long may a computed result still be sent when a rebalance has begun: the join waits for it."""


@dataclass(frozen=True, slots=True)
class Try:
    """A work record as it was read: which try this is, and where the first was.

    Attributes:
        avoid: partitions of the workers on which its model did not load.
    """

    message: Message
    priority: Priority
    tries: int
    not_before: float
    origin: Origin
    avoid: frozenset[int]

    @classmethod
    def of(cls, message: Message, priority: Priority) -> "Try":
        """Raises: PoisonError: headers of a try that make no sense."""
        headers = record_headers(message)
        here = Origin(topic=message.topic, partition=message.partition, offset=message.offset)
        try:
            origin = parse_origin(headers["origin"]) if "origin" in headers else here
            avoid = frozenset(int(partition) for partition in headers.get("avoid", b"").split(b",") if partition)
            return cls(message, priority, int(headers.get("attempt", b"0")), float(headers.get("not_before", b"0")), origin, avoid)
        except ValueError as error:
            raise PoisonError(f"headers of a try that cannot be read: {error}") from error


@dataclass(slots=True)
class SpanLog:
    """One span in one worker's hands, for as long as the tenure lasts.

    Attributes:
        taken: a take is in the log, or on its way there, and neither a result nor a hand-back has followed it.
    """

    announcer: Announcer
    worker: str
    work: Work
    attempt: Try
    tenure: Tenure
    taken: bool = False

    async def take(self) -> None:
        """Note that it is taken, confirmed, unless that is in the log already."""
        if self.taken:
            return
        self.tenure.check()  # a load that outlives its tenure takes nothing
        self.taken = True
        await self._log(SpanTaken(**self._about(), **self._as_read(), taken_at=datetime.now(UTC)))

    async def give_back(self, error: str) -> None:
        """Have its take counted no more: it has not ended this worker."""
        self.taken = False
        await self._log(SpanFailed(**self._about(), failed_at=datetime.now(UTC), final=False, error=error), HAND_BACK_SECONDS)

    async def fail(self, error: str) -> None:
        """Fail the run. Its dead letter is sent by whoever finishes it: one, however many of its spans fail."""
        await self._log(SpanFailed(**self._about(), **self._as_read(), failed_at=datetime.now(UTC), final=True, error=error))

    async def done(self, result: SpanDone) -> None:
        await self._log(result, RESULT_SECONDS)

    async def _log(self, record: SpanTaken | SpanFailed | SpanDone, grace_seconds: float = 0.0) -> None:
        await self.announcer.log_run(self.tenure, str(self.work.run_id), record.to_bytes(), grace_seconds=grace_seconds)

    def _about(self) -> dict[str, Any]:
        return {"run_id": self.work.run_id, "attempt": self.work.attempt, "span": self.work.span, "worker": self.worker}

    def _as_read(self) -> dict[str, Any]:
        message = self.attempt.message
        return {
            "tries": self.attempt.tries,
            "origin": self.attempt.origin,
            "work_key": None if message.key is None else message.key.decode(errors="replace"),
            "work_headers": {name: value.decode(errors="replace") for name, value in record_headers(message).items()},
            "work_value": (message.value or b"").decode(),
        }
