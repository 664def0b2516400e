"""Work records that cannot be processed: they become dead letters, and their runs fail."""

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from core.logging import get_logger
from core.metrics import SPANS
from streams.policy.dead_letters import DeadLetter, dead_letter_of, unexpected_letter
from streams.policy.record_failures import describe_failure
from streams.publisher import Publisher
from streams.received import ReceivedRecord
from streams.records import Attempt, Count, Id, SpanFailed
from streams.runtime.assignment import Assignment

log = get_logger(__name__)

POISON = "poison"


class _Names(BaseModel):
    """The fields that identify a work record's span, whatever is wrong with the others."""

    model_config = ConfigDict(strict=True, extra="ignore")

    run_id: Id
    attempt: Attempt
    span: Count


@dataclass(frozen=True, slots=True)
class DeadLetteredWork:
    publisher: Publisher
    worker: str

    async def poison(self, record: ReceivedRecord, assignment: Assignment, error: str) -> None:
        """Dead-letter a record that can never be processed."""
        log.error("record.poison", **record.log_fields, error=error)
        await self._dead_letter(record, assignment, dead_letter_of(record, POISON, error), error)
        SPANS.labels(POISON, "unknown").inc()

    async def give_up(self, record: ReceivedRecord, assignment: Assignment, error: Exception, tries: int) -> None:
        """Dead-letter a record whose handling failed unexpectedly."""
        await self._dead_letter(record, assignment, unexpected_letter(record, error, tries), describe_failure(error, tries))

    async def _dead_letter(self, record: ReceivedRecord, assignment: Assignment, letter: DeadLetter, error: str) -> None:
        await self.publisher.dead_letter(assignment, letter)
        names = _names(record)
        if names is None:
            return
        # No origin and no work_value: the dead letter of this failure has already been sent.
        failed = SpanFailed(
            run_id=names.run_id,
            attempt=names.attempt,
            span=names.span,
            worker=self.worker,
            failed_at=datetime.now(UTC),
            final=True,
            error=f"its work record was set aside: {error[:1000]}",
        )
        await self.publisher.append_to_run_log(assignment, str(names.run_id), failed.to_bytes())


def _names(record: ReceivedRecord) -> _Names | None:
    try:
        return _Names.model_validate_json(record.value or b"")
    except ValidationError:
        return None
