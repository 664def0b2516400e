"""What a request's record alone decides."""

import string

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.identity import request_id, run_id
from core.model_choice import ModelChoice
from core.settings import AdmissionSettings
from core.types import Priority, RejectionType
from streams.policy.outcomes import rejected
from streams.policy.requests import IdentifiedRequest, UnidentifiedRequest, admission_limits, estimated_cost_usd, read_request
from streams.received import ReceivedRecord
from streams.records import InferenceRejected

TENANT = "11111111-2222-3333-4444-555555555555"
VIDEO = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
DEFAULT_MODEL = "builtin-0123abcd"
BODY = {"tenant_id": TENANT, "video_id": VIDEO, "cropped_frames_version": 1, "frame_count": 600}


def received(value: bytes | None, *, headers: dict[str, bytes] | None = None, key: bytes | None = b"k") -> ReceivedRecord:
    return ReceivedRecord("video.encoded", 2, 34, 1_700_000_000_000, key, value, headers or {})


def read(
    body: object = None, *, raw: bytes | None = None, settings: dict | None = None, low: bool = False, **options
) -> IdentifiedRequest | UnidentifiedRequest:
    value = raw if body is None else orjson.dumps(body)
    choice = ModelChoice(DEFAULT_MODEL, "built in")
    chosen = AdmissionSettings(_env_file=None, **settings or {})
    return read_request(received(value, **options), chosen, lambda tenant, video: choice, low=low)


def identified(*arguments, **options) -> IdentifiedRequest:
    result = read(*arguments, **options)
    assert isinstance(result, IdentifiedRequest)
    return result


def test_a_valid_request_gets_its_defaults():
    """Missing fields get their defaults, and the ids follow from the record."""
    result = identified({**BODY, "event_id": "e-1"})
    request = result.request
    assert request.rejection is None
    assert (request.model_version, request.priority, request.force) == (DEFAULT_MODEL, Priority.HIGH, False)
    assert request.request_id == request_id(request.tenant_id, request.video_id, 1, "e-1") == result.ref.request_id
    assert request.run_id == run_id(request.tenant_id, request.video_id, 1, DEFAULT_MODEL)
    assert result.video is not None
    assert result.video.model_version == DEFAULT_MODEL
    assert (request.source_topic, request.source_partition, request.source_offset) == ("video.encoded", 2, 34)


def test_without_event_id_a_request_is_named_by_its_origin():
    """The same record read again is the same request."""
    request = identified(BODY).request
    assert request.request_id == request_id(request.tenant_id, request.video_id, 1, "video.encoded/2/34")
    assert request.event_id is None


def test_a_forced_request_has_a_run_of_its_own():
    """The run id of a forced request depends on the request."""
    plain, forced = identified({**BODY, "event_id": "e"}).request, identified({**BODY, "event_id": "e", "force": True}).request
    assert plain.request_id == forced.request_id
    assert forced.run_id == run_id(forced.tenant_id, forced.video_id, 1, DEFAULT_MODEL, forced.request_id) != plain.run_id


def test_the_low_topic_makes_a_request_low():
    """A record of the low-priority topic is low priority whatever it says; elsewhere it may choose."""
    assert identified({**BODY, "priority": "high"}, low=True).request.priority is Priority.LOW
    assert identified({**BODY, "priority": "low"}).request.priority is Priority.LOW
    assert identified({**BODY, "priority": "oops"}, low=True).request.priority is Priority.LOW


def test_headers_are_passed_on():
    """traceparent is passed on with the request, and the replay's id is stored in its row."""
    result = identified(BODY, headers={"traceparent": b"00-a-b-01", "replay_id": b"r-7"})
    assert result.ref.traceparent == "00-a-b-01"
    assert result.ref.tracestate is None
    assert result.request.replay_id == "r-7"
    assert identified(BODY, headers={"traceparent": b"\xff" * 9000}).ref.traceparent == "�" * 500


@pytest.mark.parametrize(
    "raw",
    [
        None,
        b"",
        b"\x00\xff",
        b"not json",
        b"[1]",
        b"{}",
        orjson.dumps({**BODY, "tenant_id": "../" + TENANT}),
        orjson.dumps({**BODY, "video_id": "{" + VIDEO + "}"}),
        orjson.dumps({**BODY, "video_id": 5}),
        orjson.dumps({"tenant_id": TENANT}),
    ],
)
def test_a_record_without_ids_is_unidentified(raw):
    """An undecodable record, or one with invalid ids, is unidentified, because no row could be about it."""
    result = read(raw=raw)
    assert isinstance(result, UnidentifiedRequest)
    assert result.message.startswith("not a")


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"frame_count": "600"}, {"frame_count": None, "cropped_frames_version": 1}),
        ({"frame_count": 2**40}, {"frame_count": None}),
        ({"schema_version": 2}, {"frame_count": 600}),
        ({"cropped_frames_version": 0}, {"cropped_frames_version": 0, "frame_count": 600}),
        ({"cropped_frames_version": True}, {"cropped_frames_version": None}),
        ({"model_version": "a/b"}, {"model_version": "a/b"}),
        ({"model_version": "m" * 5000}, {"model_version": "m" * 200}),
        ({"force": "yes"}, {"force": False}),
        ({"event_id": ""}, {"event_id": None}),
    ],
)
def test_a_request_with_ids_and_wrong_fields_keeps_its_usable_fields(change, kept):
    """A record with ids and a wrong field becomes a rejection of its video that names the field, and keeps the usable fields."""
    result = identified({**BODY, **change})
    assert result.video is None
    assert result.request.rejection is not None
    assert result.request.rejection.type is RejectionType.VALIDATION_FAILED
    assert next(iter(change)) in result.request.rejection.message
    assert {name: getattr(result.request, name) for name in kept} == kept
    assert result.request.run_id is None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 4000])
def test_numbers_that_other_parsers_refuse_do_not_stop_the_worker(number):
    """A record with readable ids and unusable numbers is rejected and does not end the process, which would only read it again."""
    raw = orjson.dumps(BODY).replace(b"600", number.encode())
    result = identified(raw=raw)
    assert result.request.rejection is not None
    assert "frame_count" in result.request.rejection.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20) | st.sampled_from([TENANT, VIDEO]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(string.ascii_lowercase, max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*BODY, "event_id", "force", "priority", "model_version", "schema_version"]), json_values))
def test_every_record_is_answered(changes):
    """Whatever its fields contain, a record with ids is accepted or rejected, and a rejection can be sent."""
    import json  # writes what orjson does not: NaN, and integers of any size

    body = {**BODY, **changes, "tenant_id": TENANT, "video_id": VIDEO}
    result = identified(raw=json.dumps(body).encode())
    rejection = result.request.rejection
    if rejection is None:
        assert result.video is not None
        return
    request = result.request
    event = InferenceRejected(
        request_id=request.request_id,
        event_id=request.event_id,
        source_topic=request.source_topic,
        source_partition=request.source_partition,
        source_offset=request.source_offset,
        tenant_id=request.tenant_id,
        video_id=request.video_id,
        cropped_frames_version=request.cropped_frames_version,
        frame_count=request.frame_count,
        model_version=request.model_version,
        priority=request.priority,
        rejection_type=rejection.type,
        message=rejection.message,
    )
    assert len(rejected(event, 0, b"k", None).value) < 10_000


@given(st.binary(max_size=400))
def test_no_bytes_stop_the_worker(raw):
    """Arbitrary bytes can be read, if only to be refused."""
    assert isinstance(read(raw=raw), IdentifiedRequest | UnidentifiedRequest)


@pytest.mark.parametrize(
    ("change", "settings", "kind", "parts"),
    [
        ({"frame_count": 1}, {}, "validation_failed", ["frame_count is 1", "at least 2"]),
        ({"frame_count": 0}, {}, "validation_failed", ["frame_count is 0"]),
        ({"frame_count": -7}, {}, "validation_failed", ["frame_count is -7"]),
        (
            {"frame_count": 200_001},
            {"max_cost_usd": 100},
            "frame_count_exceeded",
            ["200001", "the limit is 200000", "EXTENTS_MAX_FRAME_COUNT"],
        ),
        ({"frame_count": 601}, {"max_frame_count": 600}, "frame_count_exceeded", ["601", "600", "EXTENTS_MAX_FRAME_COUNT"]),
        (
            {"frame_count": 100_001},
            {"max_cost_usd": 0.25},
            "cost_exceeded",
            ["$0.31", "100000 pairs", "$0.25", "EXTENTS_MAX_COST_USD"],
        ),
    ],
)
def test_a_rejection_names_value_limit_and_setting(change, settings, kind, parts):
    """The message suffices for support to answer why, and for the operator to change it."""
    rejection = identified({**BODY, **change}, settings=settings).request.rejection
    assert rejection is not None
    assert rejection.type == kind
    assert all(part in rejection.message for part in parts), rejection.message


def test_the_first_limit_that_fails_rejects():
    """A video that is too long and too expensive is rejected as too long."""
    rejection = identified({**BODY, "frame_count": 2_000_000}).request.rejection
    assert rejection is not None
    assert rejection.type is RejectionType.FRAME_COUNT_EXCEEDED


@pytest.mark.parametrize("frame_count", [2, 200_000])
def test_limits_are_inclusive(frame_count):
    """One pair is enough, and the largest allowed count is allowed."""
    assert identified({**BODY, "frame_count": frame_count}).request.rejection is None


def test_the_estimate_is_pairs_over_rate_at_the_price_of_an_hour():
    """36,001 frames at 100 pairs a second are 6 minutes: $0.11 at $1.10 an hour."""
    settings = AdmissionSettings(_env_file=None)
    assert estimated_cost_usd(36_001, settings) == pytest.approx(0.11)
    assert estimated_cost_usd(0, settings) == 0.0


def test_the_databases_limits_are_the_settings():
    """Each limit that the database checks is the setting with that name."""
    limits = admission_limits(AdmissionSettings(_env_file=None, queue_limit=7, rate_limit_seconds=0))
    assert (limits.queue_limit, limits.rate_limit_seconds, limits.queue_limit_tenant) == (7, 0, 25)
