"""Quarantine: a span that may have killed its workers is processed alone, so that it does not count against other spans."""

from typing import Final, Literal

from core.errors import PoisonError
from streams.policy.run_log import MAX_SPAN_TAKES
from streams.policy.run_state import RunState
from streams.records import Cancelled, Count, LogRecord, RunKey, SpanTaken, decode

QUARANTINE_TAKES: Final = MAX_SPAN_TAKES // 2
"""After half of the allowed takes a span runs alone. The margin gives the workers time to learn of the quarantine."""


class QuarantineNotice(RunKey):
    """``inference.cancelled`` also carries this: a span was taken several times without a result, so workers must process it alone."""

    kind: Literal["span_suspected"]
    span: Count


def decode_notice(value: bytes | None) -> Cancelled | QuarantineNotice:
    """Parse one record of ``inference.cancelled``.

    Raises:
        PoisonError: the record is neither a quarantine notice nor a cancellation.
    """
    try:
        return decode(QuarantineNotice, value)
    except PoisonError:
        return decode(Cancelled, value)


def quarantine_notice(state: RunState, record: LogRecord) -> QuarantineNotice | None:
    """The notice to send to all workers after this record was folded into the state; None if no notice is due."""
    if not isinstance(record, SpanTaken) or state.outcome is not None or state.takes.get(record.span, 0) < QUARANTINE_TAKES:
        return None
    return QuarantineNotice(kind="span_suspected", run_id=record.run_id, attempt=record.attempt, span=record.span)
