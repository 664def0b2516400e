"""Which spans are suspected of killing their workers."""

from core.types import Outcome
from streams.policy.quarantine import QUARANTINE_TAKES, QuarantineNotice, decode_notice, quarantine_notice
from streams.policy.run_log import MAX_SPAN_TAKES, fold
from streams.policy.run_state import RunState
from streams.records import LogRecord
from tests.streams.run_logs import RUN, done, failed, started, taken


def quarantine_notices(log: list[LogRecord]) -> list[int]:
    """The positions in the log at which a span is quarantined."""
    state: RunState | None = None
    notices = []
    for offset, record in enumerate(log):
        state = fold(state, record, offset, 1000 * offset).state
        assert state is not None
        suspected = quarantine_notice(state, record)
        if suspected is not None:
            assert (suspected.run_id, suspected.attempt, suspected.span) == (RUN, 1, 0)
            assert decode_notice(suspected.to_bytes()) == QuarantineNotice(kind="span_suspected", run_id=RUN, attempt=1, span=0)
            notices.append(offset)
    assert state is None or state.outcome in (None, Outcome.FAILED)
    return notices


def test_half_of_the_allowed_takes_quarantine_a_span() -> None:
    """Every take from half of the allowed number on gives a notice, except the last, which fails the run."""
    log = [started(), *[taken(0)] * (MAX_SPAN_TAKES + 1)]
    assert quarantine_notices(log) == list(range(QUARANTINE_TAKES, MAX_SPAN_TAKES + 1))


def test_a_released_or_finished_span_is_not_quarantined() -> None:
    """A released take does not count, and neither do takes before a result."""
    few = [taken(0)] * (QUARANTINE_TAKES - 1)
    assert quarantine_notices([started(), *few, *[failed(0, final=False), taken(0)] * MAX_SPAN_TAKES]) == []
    assert quarantine_notices([started(), *few, done(0), *few]) == []
    assert quarantine_notices([started(), *few, taken(1), taken(1)]) == []
