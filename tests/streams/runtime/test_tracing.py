"""How a process passes on traces that it does not export."""

from structlog.contextvars import get_contextvars

from core.trace_context import TraceContext
from streams.received import ReceivedRecord
from streams.runtime.tracing import begin, current_trace, record_step, step

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CONTEXT = TraceContext(f"00-{TRACE}-00f067aa0ba902b7-01", "vendor=1")


def record(**headers: bytes) -> ReceivedRecord:
    return ReceivedRecord("video.encoded", 0, 7, 1_700_000_000_000, b"key", b"value", headers)


def test_a_context_is_passed_on():
    """A step and the steps within it pass on the context of their record; afterwards there is none."""
    with begin(record_step("admit", record(**CONTEXT.headers()))) as outer:
        assert outer.trace == current_trace() == CONTEXT
        with step("decide", run_id="r") as inner:
            inner.note(decision="run")
            inner.fail(ValueError("no"))
            assert inner.trace == current_trace() == CONTEXT
    assert current_trace() is None


def test_nothing_begins_a_trace():
    """A record without a trace has none here either, and neither has a part outside of any step."""
    with begin(record_step("admit", record())) as outer:
        assert outer.trace is None
    with step("alone") as alone:
        assert alone.trace is None


def test_the_log_has_the_id_of_the_trace():
    """Log lines within a step have its trace_id, unless the record's context is malformed."""
    with begin(record_step("admit", record(**CONTEXT.headers()))):
        assert get_contextvars() == {"trace_id": TRACE}
    assert get_contextvars() == {}
    with begin(record_step("admit", record(traceparent=b"00-a-b-01"))):
        assert get_contextvars() == {}
