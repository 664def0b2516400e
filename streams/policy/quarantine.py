"""Spans that may have ended their workers. They are worked on alone from then on, so that no neighbour is blamed for it."""

from typing import Final, Literal

from core.errors import PoisonError
from streams.policy.run_log import MAX_SPAN_TAKES, RunState
from streams.records import Cancelled, Count, LogRecord, RunKey, SpanTaken, decode

QUARANTINE_TAKES: Final = MAX_SPAN_TAKES // 2
"""Of the takes that a span is granted the first half may be in company, the rest are alone: by then workers know of it."""


class QuarantineNotice(RunKey):
    """Also in ``inference.cancelled``: a span that was taken several times without a result. Nothing else is in its worker's hands."""

    kind: Literal["span_suspected"]
    span: Count


def decode_notice(value: bytes | None) -> Cancelled | QuarantineNotice:
    """Parse one record of ``inference.cancelled``.

    Raises:
        PoisonError: it is neither.
    """
    try:
        return decode(QuarantineNotice, value)
    except PoisonError:
        return decode(Cancelled, value)


def quarantine_notice(state: RunState, record: LogRecord) -> QuarantineNotice | None:
    """What to tell all workers after this record, which has just been folded into the state."""
    if not isinstance(record, SpanTaken) or state.outcome is not None or state.takes.get(record.span, 0) < QUARANTINE_TAKES:
        return None
    return QuarantineNotice(kind="span_suspected", run_id=record.run_id, attempt=record.attempt, span=record.span)
