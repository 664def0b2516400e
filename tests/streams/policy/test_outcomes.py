"""Outcome events: the same outcome gives the same event, in every process and at any time."""

from datetime import datetime
from uuid import UUID

import orjson
import pytest

from core.identity import outcome_event_id, request_event_id
from core.runs import StoredRun
from core.trace_context import TraceContext
from core.types import Outcome, RejectionType
from streams.policy import outcomes
from streams.policy.outcomes import OutcomeEvent, RunIdentity
from streams.policy.results import assemble, pack_span
from streams.policy.run_log import fold
from streams.policy.run_state import RunState
from streams.records import InferenceCompleted, InferenceFailed, InferenceRejected, RunJoined, decode
from tests.streams.run_logs import RUN, cancelled, done, failed, finished, joined, probabilities, request, started, taken

MS = 1_700_000_000_000
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STORED = StoredRun("videos/t/v/run.db", 4096, "ef" * 32, 1, adopted=False)
RUN_IDENTITY = RunIdentity(RUN, UUID(int=2), UUID(int=3), 1, "builtin-0123abcd")


def folded(*records) -> RunState:
    state = None
    for offset, record in enumerate(records):
        state = fold(state, record, offset, MS + 1000 * offset).state
    assert state is not None
    return state


def completion() -> OutcomeEvent:
    results = [done(span, values=probabilities(span, 1026)) for span in range(3)]
    state = folded(started(), joined(1), taken(0), *results)
    run = assemble(state, [pack_span(result) for result in results])
    return outcomes.completed(state, run, STORED, {"same": 1000, "different": 25}, 26)


def rejection(**changes) -> InferenceRejected:
    values = {
        "source_topic": "video.encoded",
        "source_partition": 2,
        "source_offset": 7,
        "rejection_type": RejectionType.VALIDATION_FAILED,
        "message": "no",
    }
    return InferenceRejected(**values | changes)


EVENTS = {
    "completed": completion,
    "failed": lambda: outcomes.failed(RUN_IDENTITY, folded(started(), joined(1), failed(0, final=True)), "span 0: it broke"),
    "cancelled": lambda: outcomes.failed(RUN_IDENTITY, folded(started(), cancelled()), "not wanted"),
    "failed_late": lambda: outcomes.failed_late(RUN_IDENTITY, folded(started(), cancelled()), "gone", request(5), MS),
    "given_up": lambda: outcomes.failed(RUN_IDENTITY, folded(joined(5, 2), cancelled(2)), "went away"),
    "found": lambda: outcomes.deduplicated(decode(InferenceCompleted, completion().value), request(5), MS),
    "rejected": lambda: outcomes.rejected(rejection(request_id=UUID(int=9), video_id=UUID(int=3)), MS, b"k", TraceContext(TRACE)),
    "refused": lambda: outcomes.rejected(rejection(), MS, b"as received", None),
}


@pytest.fixture(params=list(EVENTS))
def make(request):
    return EVENTS[request.param]


def test_the_same_outcome_is_the_same_event(make):
    """Built again from the same records at another time, the event has the same key, bytes and headers."""
    assert make() == make()


def test_events_carry_cloudevents_headers(make):
    """Each event has the attributes of CloudEvents 1.0, with the time of the records."""
    event = make()
    assert event.headers["ce_specversion"] == b"1.0"
    assert event.headers["ce_type"].decode() == f"extents.{event.name}.v1"
    assert event.headers["ce_source"] == b"/extents/coordinator"
    assert UUID(event.headers["ce_id"].decode()).version == 5
    moment = datetime.fromisoformat(event.headers["ce_time"].decode())
    assert moment.tzinfo is not None
    assert 0 <= moment.timestamp() - MS / 1000 < 60
    assert event.headers["content-type"] == b"application/json"
    assert orjson.loads(event.value)["schema_version"] == 1


def test_events_have_ids_of_their_own():
    """Different outcomes of one run and of different requests never share a ce_id."""
    ids = {name: make().headers["ce_id"] for name, make in EVENTS.items()}
    alike = {ids.pop("cancelled"), ids.pop("failed")}
    assert len(alike) == 1  # of one attempt, of which only one can be
    assert len(set(ids.values()) | alike) == len(ids) + 1


def test_ids_follow_from_run_attempt_and_outcome_or_request():
    """A computed outcome is identified by run and attempt, an answer without computation by its request."""
    assert EVENTS["completed"]().headers["ce_id"].decode() == str(outcome_event_id(RUN, 1, "completed"))
    assert EVENTS["given_up"]().headers["ce_id"].decode() == str(outcome_event_id(RUN, 2, "failed"))
    assert EVENTS["found"]().headers["ce_id"].decode() == str(request_event_id(UUID(int=1005), "completed"))
    assert EVENTS["failed_late"]().headers["ce_id"].decode() == str(request_event_id(UUID(int=1005), "failed"))


def test_a_rejection_without_ids_is_named_by_its_origin():
    """Two undecodable records are two rejections, one read twice is one; the key is the received key."""
    here, there = (outcomes.rejected(rejection(source_offset=offset), MS, b"as received", None) for offset in (7, 8))
    assert here.headers["ce_id"] != there.headers["ce_id"]
    assert here.key == b"as received"
    assert outcomes.rejected(rejection(), MS, None, None).key == b""


def test_a_received_key_of_any_size_makes_an_event_that_can_be_sent():
    """Even with the largest key of a record, the event about it fits into its topic."""
    event = outcomes.rejected(rejection(), MS, b"k" * 1_000_000, None)
    assert len(event.key) + len(event.value) < 10_000


def test_a_completed_event_describes_the_run():
    """The event says where the result is, what it is, what it cost, and which requests it answers."""
    event = completion()
    body = decode(InferenceCompleted, event.value)
    assert event.key == str(UUID(int=3)).encode()
    assert (body.storage_key, body.size_bytes, body.sha256) == (STORED.storage_key, STORED.size_bytes, STORED.sha256)
    assert (body.pairs, body.caption_count, body.deduplicated) == (1025, 26, False)
    assert [ref.request_id.int for ref in body.requests] == [1101, 1001]
    assert body.queue_seconds == 2.0  # run_started at offset 0, the first span taken at 2, a second apart
    assert body.total_seconds == 5.0
    assert body.estimated_cost_usd == pytest.approx(4.5 / 3600 * 1.1)


def test_a_deduplicated_event_names_the_earlier_run():
    """An answer from an earlier run says so, and names the one request that it answers."""
    body = decode(InferenceCompleted, EVENTS["found"]().value)
    assert body.deduplicated
    assert [ref.request_id.int for ref in body.requests] == [1005]
    assert body.run_id == str(RUN)


def test_a_failed_event_has_reason_and_progress():
    """The event has the reason, the number of finished spans, and all requests that it answers."""
    state = folded(started(), done(1), joined(1), failed(0, final=True))
    body = decode(InferenceFailed, outcomes.failed(RUN_IDENTITY, state, state.reason or "").value)
    assert (body.outcome, body.spans_done, body.spans_total) == (Outcome.FAILED, 1, 3)
    assert body.reason == "span 0: it broke"
    assert [ref.request_id.int for ref in body.requests] == [1101, 1001]


def test_a_cancelled_run_is_announced_as_cancelled():
    """A cancellation is announced as a failure whose outcome is cancelled."""
    body = decode(InferenceFailed, EVENTS["cancelled"]().value)
    assert (body.outcome, body.reason) == (Outcome.CANCELLED, "not wanted")


def test_the_traceparent_is_passed_on():
    """The first traceparent among the requests goes with the outcome; without one there is no such header."""
    traced = request(101, traceparent=TRACE)
    state = folded(started(request=traced), joined(1), failed(0, final=True))
    assert outcomes.failed(RUN_IDENTITY, state, "x").headers["traceparent"] == TRACE.encode()
    assert EVENTS["rejected"]().headers["traceparent"] == TRACE.encode()
    assert "traceparent" not in EVENTS["failed"]().headers


def test_a_continued_trace_takes_the_place_of_the_runs():
    """If traces are exported, an outcome names the step that announces it."""
    state = folded(started(request=request(101, traceparent=TRACE, tracestate="a=1")), failed(0, final=True))
    assert outcomes.failed(RUN_IDENTITY, state, "x").headers["tracestate"] == b"a=1"
    headers = outcomes.failed(RUN_IDENTITY, state, "x", TraceContext(TRACE.replace("b7", "b8"))).headers
    assert (headers["traceparent"], "tracestate" in headers) == (TRACE.replace("b7", "b8").encode(), False)


def test_a_run_is_in_the_trace_of_the_request_that_started_it():
    """A request that joined, even before the start was folded, has a trace of its own."""
    other = RunJoined(run_id=RUN, attempt=1, request=request(1, traceparent=TRACE.replace("4bf9", "5bf9")))
    state = folded(other, started(request=request(101, traceparent=TRACE)), failed(0, final=True))
    assert outcomes.failed(RUN_IDENTITY, state, "x").headers["traceparent"] == TRACE.encode()


def test_an_announced_end_is_not_announced_again():
    """After run_finished only the marker is left, which cannot be announced again by mistake."""
    state = folded(started(), failed(0, final=True), finished(Outcome.FAILED, [101]))
    with pytest.raises(ValueError, match="has already been announced"):
        outcomes.failed(RUN_IDENTITY, state, "x")
