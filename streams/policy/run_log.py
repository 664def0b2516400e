"""Folds the records of ``inference.results`` into the state of each run: a pure function of one partition's records in their order.

The outcome is whichever comes first: the last missing span is done, a span fails permanently, the deadline passes, or the run
is cancelled. Nothing here reads a clock; times come from the records. Kafka delivers at least once, but folding a record again
changes nothing, because the state contains the offset of the last record that was folded.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from core.types import Outcome
from streams.policy.run_state import RunState
from streams.records import (
    DeadlinePassed,
    LogRecord,
    ReadWork,
    RequestRef,
    RunCancelled,
    RunFinished,
    RunJoined,
    RunKey,
    RunStarted,
    SpanDone,
    SpanFailed,
    SpanTaken,
)

MAX_SPAN_TAKES: Final = 10
"""A run fails if a span is taken more often than this without a result, since the span probably kills its workers. Released takes
do not count."""

UNTAKEN_SECONDS: Final = 14 * 86_400
"""Default limit for a run of which no span has been taken: the retention of the work topics."""


class Disposition(StrEnum):
    """How a record was handled. A label of a metric."""

    COUNTED = "counted"
    REPEATED = "repeated"
    LATE = "late"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Folded:
    """The state after a record. ``stored`` is the span whose probabilities now count; ``dropped`` are those that no longer count."""

    state: RunState | None
    disposition: Disposition
    stored: int | None = None
    dropped: tuple[int, ...] = ()


def fold(state: RunState | None, record: LogRecord, offset: int, timestamp_ms: int) -> Folded:
    """Fold one record into the state of its run.

    Args:
        state: the state before the record; None for an unknown run.
        offset: the record's offset in its partition.
        timestamp_ms: the record's Kafka timestamp, in milliseconds since the epoch.
    """
    if state is not None and offset <= state.offset:
        return Folded(state, Disposition.REPEATED)
    match record:
        case RunStarted():
            return _started(state, record, offset, timestamp_ms)
        case RunJoined():
            return _joined(state, record, offset, timestamp_ms)
    if state is None:
        return Folded(None, Disposition.LATE)
    state = state.model_copy(update={"offset": offset})
    if isinstance(record, RunFinished):
        return _finished(state, record, timestamp_ms)
    if record.attempt != state.attempt or state.outcome is not None:
        return Folded(state, Disposition.LATE)
    if isinstance(record, RunCancelled):  # counts whether the run has started or not
        return Folded(_with_outcome(state, Outcome.CANCELLED, record.reason, timestamp_ms), Disposition.COUNTED)
    if state.started is None:
        return Folded(state, Disposition.LATE)
    match record:
        case SpanTaken():
            return _taken(state, record, timestamp_ms)
        case SpanDone():
            return _done(state, record, timestamp_ms)
        case SpanFailed():
            return _failed(state, record, timestamp_ms)
        case DeadlinePassed():
            spans = f"{len(state.done)} of {state.spans} spans done"
            setting = f"EXTENTS_DEADLINE_{state.started.priority.upper()}_SECONDS"
            reason = f"deadline of {state.started.deadline_seconds} s passed with {spans} ({setting})"
            if state.first_taken_ms is None:
                reason = f"no span was taken within {untaken_seconds(state)} s (EXTENTS_UNTAKEN_SECONDS)"
            return Folded(_with_outcome(state, Outcome.FAILED, reason, timestamp_ms), Disposition.COUNTED)
        case _:
            assert_never(record)


def deadline_ms(state: RunState) -> int | None:
    """Return the time by which the run must have ended; None after the outcome.

    The deadline counts from the first take of a span. Before that, and for a run that was joined but never started, the limit is
    how long the run may wait for its first take. No worker can take a span once the work topics have deleted its record.
    """
    if state.outcome is not None:
        return None
    if state.started is not None and state.first_taken_ms is not None:
        return state.first_taken_ms + 1000 * state.started.deadline_seconds
    known_ms = state.joined_at_ms if state.started is None else state.started_at_ms
    return None if known_ms is None else known_ms + 1000 * untaken_seconds(state)


def untaken_seconds(state: RunState) -> int:
    """Return how long the run may wait for its first span to be taken."""
    return (state.started and state.started.untaken_seconds) or UNTAKEN_SECONDS


def _started(state: RunState | None, record: RunStarted, offset: int, timestamp_ms: int) -> Folded:
    if (
        state is not None
        and record.attempt == state.attempt
        and state.outcome is None
        and state.started
        and record.pins() != state.started.pins()
    ):
        return _restarted(state, record, offset)
    if state is not None and (record.attempt < state.attempt or (record.attempt == state.attempt and (state.started or state.outcome))):
        # A repeat, or a request admitted by a rebuilt database that does not know the run: it waits for the same outcome.
        return _joined(state, record, offset)
    attempt_state = _new_attempt(state, record, offset)
    update = {"started": record, "started_at_ms": timestamp_ms, "requests": _add_request(attempt_state, record.request)}
    return Folded(attempt_state.model_copy(update=update), Disposition.COUNTED, dropped=tuple(state.done) if state else ())


def _restarted(state: RunState, record: RunStarted, offset: int) -> Folded:
    """Admission was repeated with other pins (another precision, a replaced layout): all spans are sent again with the new pins."""
    update = {
        "offset": offset,
        "started": record,
        "takes": {},
        "done": [],
        "frame_size": None,
        "requests": _add_request(state, record.request),
    }
    return Folded(state.model_copy(update=update), Disposition.COUNTED, dropped=tuple(state.done))


def _new_attempt(state: RunState | None, record: RunKey, offset: int) -> RunState:
    """Return the state of a new attempt. It inherits the previous attempt's requests that may not have been notified.

    These joined after the previous outcome was decided.
    """
    attempt_state = RunState(run_id=str(record.run_id), attempt=record.attempt, offset=offset)
    if state is None:
        return attempt_state
    notified = (str(request.request_id) for request in state.requests[: state.notified_count])
    return attempt_state.model_copy(
        update={"requests": state.requests[state.notified_count :], "answered": sorted({*state.answered, *notified})}
    )


def _joined(state: RunState | None, record: RunJoined | RunStarted, offset: int, timestamp_ms: int = 0) -> Folded:
    if state is None or record.attempt > state.attempt:
        # Its run_started has not arrived yet: another coordinator sends it.
        waiting = _new_attempt(state, record, offset)
        waiting = waiting.model_copy(update={"requests": _add_request(waiting, record.request), "joined_at_ms": timestamp_ms})
        return Folded(waiting, Disposition.COUNTED, dropped=tuple(state.done) if state else ())
    requests = _add_request(state, record.request)
    if requests == state.requests:
        return Folded(state.model_copy(update={"offset": offset}), Disposition.REPEATED)
    return Folded(state.model_copy(update={"offset": offset, "requests": requests}), Disposition.COUNTED)


def _taken(state: RunState, record: SpanTaken, timestamp_ms: int) -> Folded:
    if record.span in state.done or record.span >= state.spans:
        return Folded(state, Disposition.LATE)
    takes = {**state.takes, record.span: state.takes.get(record.span, 0) + 1}
    update: dict[str, object] = {"takes": takes}
    if state.first_taken_ms is None:
        update |= {"first_taken_ms": timestamp_ms, "started_working_at": record.taken_at.isoformat()}
    state = state.model_copy(update=update)
    if takes[record.span] > MAX_SPAN_TAKES:
        reason = (
            f"span {record.span} was taken {MAX_SPAN_TAKES} times without a result, so it probably kills its workers; "
            f"{record.worker} took it last"
        )
        state = _with_outcome(
            state.model_copy(update={"failure": _failure_after_takes(record, reason)}), Outcome.FAILED, reason, timestamp_ms
        )
    return Folded(state, Disposition.COUNTED)


def _failure_after_takes(record: SpanTaken, reason: str) -> SpanFailed:
    """Build the failure on behalf of the worker that took the span once too often."""
    read = {name: getattr(record, name) for name in ReadWork.model_fields}
    return SpanFailed(**read, span=record.span, worker=record.worker, failed_at=record.taken_at, final=True, error=reason)


def _done(state: RunState, record: SpanDone, timestamp_ms: int) -> Folded:
    assert state.started is not None
    if record.span >= state.spans or record.pins() != state.started.pins():
        return Folded(state, Disposition.REFUSED)
    if record.span in state.done:
        return Folded(state, Disposition.REPEATED)
    size = [record.frame_width, record.frame_height]
    if state.frame_size is not None and size != state.frame_size:
        width, height = state.frame_size
        reason = f"span {record.span} has frames of {size[0]}×{size[1]} pixels, the spans before it {width}×{height}"
        return Folded(_with_outcome(state, Outcome.FAILED, reason, timestamp_ms), Disposition.COUNTED)
    takes = {span: count for span, count in state.takes.items() if span != record.span}
    state = state.model_copy(update={"done": sorted([*state.done, record.span]), "takes": takes, "frame_size": size})
    if len(state.done) == state.spans:
        state = _with_outcome(state, Outcome.COMPLETED, None, timestamp_ms)
    return Folded(state, Disposition.COUNTED, stored=record.span)


def _failed(state: RunState, record: SpanFailed, timestamp_ms: int) -> Folded:
    if record.span in state.done or record.span >= state.spans:
        return Folded(state, Disposition.LATE)
    if record.final:
        state = _with_outcome(
            state.model_copy(update={"failure": record}), Outcome.FAILED, f"span {record.span}: {record.error}", timestamp_ms
        )
    else:
        # Only this worker's take is removed. Otherwise the count for a span that kills its workers would restart at each rebalance.
        remaining = max(0, state.takes.get(record.span, 0) - 1)
        state = state.model_copy(update={"takes": {**state.takes, record.span: remaining}})
    return Folded(state, Disposition.COUNTED)


def _finished(state: RunState, record: RunFinished, timestamp_ms: int) -> Folded:
    answered = [str(request) for request in record.answered]
    waiting = [request for request in state.requests if str(request.request_id) not in answered]
    if record.attempt < state.attempt and waiting != state.requests:
        notified = sum(str(request.request_id) not in answered for request in state.requests[: state.notified_count])
        update = {"requests": waiting, "notified_count": notified, "answered": sorted({*state.answered, *answered})}
        return Folded(state.model_copy(update=update), Disposition.COUNTED)
    if record.attempt != state.attempt or state.outcome is None:
        return Folded(state, Disposition.LATE)
    marker = RunState(
        run_id=state.run_id,
        attempt=state.attempt,
        offset=state.offset,
        requests=waiting,
        answered=sorted({*state.answered, *answered}),
        outcome=record.outcome,  # storing the result may have failed, which is announced as a failure
        outcome_at_ms=state.outcome_at_ms,
        reason=record.reason,
        finished_at_ms=state.finished_at_ms or timestamp_ms,
    )
    return Folded(marker, Disposition.COUNTED, dropped=tuple(state.done))


def _with_outcome(state: RunState, outcome: Outcome, reason: str | None, timestamp_ms: int) -> RunState:
    # The row that allows the next attempt is written after the announcement.
    update = {"outcome": outcome, "reason": reason, "outcome_at_ms": timestamp_ms, "notified_count": len(state.requests)}
    return state.model_copy(update=update)


def _add_request(state: RunState, request: RequestRef) -> list[RequestRef]:
    """Return the waiting requests and this one, unless it is waiting or answered already."""
    known_ids = {*state.answered, *(str(waiting.request_id) for waiting in state.requests)}
    return state.requests if str(request.request_id) in known_ids else [*state.requests, request]
