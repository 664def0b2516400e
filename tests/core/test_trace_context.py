"""Trace contexts in headers."""

import pytest

from core.trace_context import MAX_TRACESTATE_LENGTH, TraceContext, exemplar

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def test_headers_are_passed_on_as_they_came():
    """traceparent and tracestate are passed on unchanged; without a traceparent there is no context."""
    assert TraceContext.of(TRACEPARENT, "vendor=1").headers() == {"traceparent": TRACEPARENT.encode(), "tracestate": b"vendor=1"}
    assert TraceContext.of(TRACEPARENT, None).headers() == {"traceparent": TRACEPARENT.encode()}
    assert TraceContext.of(None, "vendor=1") is None
    assert TraceContext.of("", None) is None


def test_a_tracestate_that_is_too_long_is_dropped():
    """A tracestate that is too long is dropped, and the trace continues without it."""
    assert TraceContext.of(TRACEPARENT, "x" * (MAX_TRACESTATE_LENGTH + 1)) == TraceContext(TRACEPARENT)


@pytest.mark.parametrize(
    ("traceparent", "trace_id", "sampled"),
    [
        (TRACEPARENT, TRACE, True),
        (f"00-{TRACE}-00f067aa0ba902b7-00", TRACE, False),
        (f"00-{TRACE}-00f067aa0ba902b7-03", TRACE, True),
        (f"cc-{TRACE}-00f067aa0ba902b7-01-what-comes-later", TRACE, True),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None, False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None, False),
        (f"00-{TRACE}-{'0' * 16}-01", None, False),
        (TRACEPARENT.upper(), None, False),
        ("00-a-b-01", None, False),
    ],
)
def test_the_id_of_a_trace_is_read_as_the_standard_says(traceparent, trace_id, sampled):
    """A malformed traceparent names no trace."""
    context = TraceContext(traceparent)
    assert (context.trace_id, context.sampled) == (trace_id, sampled)


def test_an_exemplar_names_a_trace_that_is_recorded():
    """An exemplar always has the run's id, and the trace's id only if the trace is recorded."""
    assert exemplar("r", TraceContext(TRACEPARENT)) == {"run_id": "r", "trace_id": TRACE}
    assert exemplar("r", TraceContext(f"00-{TRACE}-00f067aa0ba902b7-00")) == {"run_id": "r"}
    assert exemplar("r", TraceContext("00-a-b-01")) == {"run_id": "r"}
    assert exemplar("r", None) == {"run_id": "r"}
