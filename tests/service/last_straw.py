"""Determines from the log of a failed run what ended it, in another way than the service does."""

from collections import defaultdict
from collections.abc import Iterable

from streams.records import DeadlinePassed, LogRecord, RunCancelled, SpanDone, SpanFailed, SpanTaken

MAX_SPAN_TAKES = 10


def failed_by_a_span(log: Iterable[LogRecord], attempt: int) -> bool:
    """Whether an attempt ended by a span that a worker gave up, or that was taken too often: such a span leaves a dead letter.

    A work record that was set aside without being worked on has left its own before.
    """
    takes: dict[int, int] = defaultdict(int)
    done, sizes = set[int](), set[tuple[int, int]]()
    for record in log:
        if record.attempt != attempt:
            continue
        match record:
            case SpanDone():
                done.add(record.span)
                sizes.add((record.frame_width, record.frame_height))
                if len(sizes) > 1:
                    return False
            case SpanTaken() if record.span not in done:
                takes[record.span] += 1
                if takes[record.span] > MAX_SPAN_TAKES:
                    return True
            case SpanFailed(final=True) if record.span not in done:
                return record.origin is not None
            case SpanFailed():
                takes[record.span] = max(0, takes[record.span] - 1)
            case DeadlinePassed() | RunCancelled():
                return False
    return False
