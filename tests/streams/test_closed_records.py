"""Whatever is accepted from a topic can be written and read again: every record survives ``decode``, ``to_bytes``, ``decode``."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PoisonError
from core.moments import EARLIEST, LATEST, utc
from core.types import Outcome, RejectionType
from streams.policy.heartbeats import Heartbeat
from streams.policy.outcomes import rejected
from streams.policy.quarantine import QuarantineNotice
from streams.policy.run_log import fold
from streams.policy.run_state import RunState
from streams.records import (
    LOG_RECORD,
    Cancelled,
    InferenceCompleted,
    InferenceFailed,
    InferenceRejected,
    Record,
    SpanDone,
    SpanTaken,
    VideoEncoded,
    Work,
    decode,
    decode_log,
)
from tests.streams.run_logs import MOMENT, RUN, cancelled, deadline, done, failed, finished, joined, request, started, taken, work

NAMES = {"tenant_id": UUID(int=2), "video_id": UUID(int=3), "cropped_frames_version": 1, "model_version": "builtin-0123abcd"}
RECORDS: list[Record] = [
    VideoEncoded(**NAMES, frame_count=600, event_id="event", occurred_at=MOMENT),
    work(),
    Cancelled(run_id=RUN, attempt=1, reason="asked for"),
    QuarantineNotice(kind="span_suspected", run_id=RUN, attempt=1, span=2),
    *(started(), joined(1), taken(0), done(0), failed(0, final=True), deadline(), cancelled(), finished(Outcome.COMPLETED, [1])),
    InferenceCompleted(
        **NAMES,
        run_id=str(RUN),
        attempt=1,
        deduplicated=False,
        storage_key="videos/x.db",
        size_bytes=5,
        sha256="ab" * 32,
        pairs=9,
        label_counts={"same": 9},
        caption_count=1,
        queue_seconds=0.5,
        gpu_seconds=1.5,
        total_seconds=2.5,
        estimated_cost_usd=0.01,
        requests=[request(1)],
    ),
    InferenceFailed(**NAMES, run_id=RUN, attempt=1, outcome=Outcome.FAILED, reason="x", spans_done=0, spans_total=3, requests=[request(1)]),
    InferenceRejected(
        request_id=UUID(int=9),
        source_topic="video.encoded",
        source_partition=0,
        source_offset=3,
        rejection_type=RejectionType.VALIDATION_FAILED,
        message="no",
        frame_count=1,
        estimated_cost_usd=0.5,
    ),
    Heartbeat(
        instance=UUID(int=4), worker="h-1", role="gpu-worker", host="h", version="1", uptime_seconds=9.5, beat_seconds=10.0, device="cpu"
    ),
]

HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([-1, 0, 1, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**400]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            "\ud800",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05Z",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "9999-12-31T23:59:59Z",
            1e308,
            1767323045,
        ]
    ),
    st.dictionaries(st.sampled_from(["a", "0", "\ud800"]), st.one_of(st.integers(), st.floats(), st.text(max_size=3)), max_size=2),
    st.lists(st.one_of(st.integers(), st.text(max_size=3)), max_size=2),
)


@st.composite
def mutated(draw: st.DrawFn, record: Record) -> bytes:
    """The record with some fields, including those of nested records, replaced by arbitrary values."""
    body = orjson.loads(record.to_bytes())
    places: list[tuple[dict[str, Any], str]] = [(body, name) for name in type(record).model_fields if name != "schema_version"]
    places += [(inner, name) for inner in body.values() if isinstance(inner, dict) for name in inner]
    for inner, name in draw(st.lists(st.sampled_from(places), min_size=1, max_size=2)):
        inner[name] = draw(HOSTILE)
    return json.dumps(body).encode()


@given(data=st.data())
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_what_is_accepted_can_be_written_and_read_again(record, data):
    """Numbers, times and texts of any kind are refused or come back unchanged."""
    value = data.draw(mutated(record))
    try:
        read = decode(type(record), value)
    except PoisonError:
        return
    assert decode(type(record), read.to_bytes()) == read


@given(data=st.data())
def test_a_state_can_be_read_again_whatever_was_folded_into_it(data):
    """The state after any accepted records is stored in a changelog, and a coordinator that could not read it would not start."""
    state = None
    log = [started(), joined(1), taken(0), done(0), taken(1), failed(1, final=True), finished(Outcome.FAILED, [1])]
    for offset, record in enumerate(log):
        value = data.draw(st.one_of(st.just(record.to_bytes()), mutated(record)))
        try:
            read = decode_log(value)
        except PoisonError:
            continue
        state = fold(state, read, offset, data.draw(st.integers(-(2**63), 2**63 - 1))).state or state
        if state is not None:
            assert RunState.model_validate_json(state.to_bytes()) == state


@pytest.mark.parametrize(
    ("record", "field", "value"),
    [
        (started(), "estimated_cost_usd", float("nan")),
        (started(), "gpu_usd_per_hour", float("inf")),
        (started(), "deadline_seconds", 2**64),
        (started(), "attempt", 2**31),
        (started(), "frame_count", 2**31),
        (done(0), "frame_width", 2**40),
        (done(0), "gpu_seconds", -1.0),
        (done(0), "done_at", "2026-01-02T03:04:05"),
        (taken(0), "taken_at", "2026-01-02T03:04:05"),
        (taken(0), "taken_at", "9999-12-31T23:59:59Z"),
    ],
)
def test_numbers_are_bounded_and_finite_and_times_have_a_zone(record, field, value):
    """A record with an infinite or too large number, or a time without a zone, is poison, so that no state contains one."""
    body = {**orjson.loads(record.to_bytes()), field: value}
    with pytest.raises(PoisonError, match=field):
        decode_log(json.dumps(body).encode())


@pytest.mark.parametrize("field", ["cropped_frames_version", "frame_count"])
def test_what_a_rejection_repeats_of_a_request_is_bounded_too(field):
    """A number that JSON could not be written with is refused in a rejection too."""
    body = next(record for record in RECORDS if isinstance(record, InferenceRejected))
    with pytest.raises(PoisonError, match=field):
        decode(InferenceRejected, json.dumps({**orjson.loads(body.to_bytes()), field: -(2**63) - 1}).encode())


@pytest.mark.parametrize("kind", [VideoEncoded, Work, SpanDone, SpanTaken])
@pytest.mark.parametrize(("value", "message"), [(None, "no value"), (b"", "value is empty")])
def test_a_record_without_a_value_is_called_so(kind, value, message):
    """The error for a tombstone says that there is no value and what was expected, not that the text is broken."""
    with pytest.raises(PoisonError, match=f"not a {kind.__name__}: the record.*{message}.*expected a JSON object"):
        decode(kind, value)
    with pytest.raises(PoisonError, match=message):
        decode_log(value)


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_timestamp_of_a_record_is_a_moment(timestamp_ms):
    """Kafka stores any number; times outside the years 1 to 9999 count as the first or last time, in events too."""
    moment = utc(timestamp_ms)
    assert EARLIEST <= moment <= LATEST
    if EARLIEST < moment < LATEST:
        assert abs(moment - datetime(1970, 1, 1, tzinfo=UTC) - timedelta(milliseconds=timestamp_ms)) < timedelta(milliseconds=100)
    body = next(record for record in RECORDS if isinstance(record, InferenceRejected))
    assert rejected(body, timestamp_ms, None, None).headers["ce_time"]


def test_the_records_are_all_that_there_are():
    """The test covers every kind of record in a run's log."""
    kinds = {type(record).__name__ for record in RECORDS}
    assert {schema["title"] for schema in LOG_RECORD.json_schema()["$defs"].values() if "kind" in schema.get("properties", {})} <= kinds
