"""The log of a run gives the history and the state of each span that a page shows."""

from datetime import timedelta

from core.types import Outcome
from streams.policy.log_history import run_log
from streams.records import RunFinished
from tests.streams.run_logs import MOMENT, RUN, done, failed, joined, started, taken


def timed(*records):
    """Each record is a second after the one before it."""
    return [(MOMENT + timedelta(seconds=second), record) for second, record in enumerate(records)]


def test_spans_that_nobody_has_taken_are_there():
    """A run that has just started shows all its spans as waiting."""
    spans = run_log(timed(started(frame_count=1026))).spans
    assert [(span.span, span.state, span.tries) for span in spans] == [(0, "waiting", 0), (1, "waiting", 0), (2, "waiting", 0)]


def test_a_span_shows_its_workers_tries_and_times():
    """Each take is a try; the first result ends the span, and later records change nothing."""
    spans = run_log(timed(started(), taken(0, second=1), taken(0, second=9), done(0), taken(0, second=30), taken(1))).spans
    assert (spans[0].state, spans[0].tries, spans[0].taken_at) == ("done", 2, MOMENT + timedelta(seconds=1))
    assert spans[0].ended_at == MOMENT + timedelta(seconds=3)
    assert spans[0].workers == (taken(0).worker,)
    assert spans[0].seconds == done(0).span_seconds
    assert [span.state for span in spans[1:]] == ["taken", "waiting"]


def test_a_failure_keeps_its_error():
    """A released span waits again and keeps the error; a span that failed for good has ended."""
    back, final = (run_log(timed(started(), taken(0), failed(0, final=final))).spans[0] for final in (False, True))
    assert (back.state, back.ended_at, back.error) == ("waiting", None, "it broke")
    assert (final.state, final.ended_at) == ("failed", MOMENT + timedelta(seconds=2))


def test_only_the_last_attempt_has_spans_and_every_attempt_its_entries():
    """Spans of former attempts are left out; the history covers all attempts, without records of spans."""
    finished = RunFinished(run_id=RUN, attempt=1, outcome=Outcome.FAILED, reason="span 0 failed", answered=[])
    log = run_log(timed(started(), taken(0), failed(0, final=True), finished, started(attempt=2), joined(7, attempt=2), done(0, attempt=2)))
    assert [span.state for span in log.spans] == ["done", "waiting", "waiting"]
    assert log.spans[0].tries == 0
    assert [entry.kind for entry in log.entries] == ["run started", "run finished", "run started", "run joined"]
    assert "span 0 failed" in log.entries[1].detail
    assert "attempt 2" in log.entries[2].detail
