"""Records on the wire: strict about types, lenient about unknown fields, small."""

from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PoisonError
from core.types import Outcome, Precision
from streams.records import Cancelled, SpanDone, VideoEncoded, Work, decode, decode_log
from tests.streams.run_logs import cancelled, deadline, done, failed, finished, joined, probabilities, started, taken, work

VIDEO = {
    "tenant_id": "11111111-2222-3333-4444-555555555555",
    "video_id": "AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE",
    "cropped_frames_version": 1,
    "frame_count": 600,
}


def encoded(**changes) -> bytes:
    return orjson.dumps({**VIDEO, **changes})


def test_unknown_fields_are_ignored():
    """A producer may send fields that we do not know, in records and nested ones."""
    video = decode(VideoEncoded, encoded(colour="red", nested={"a": [1]}))
    assert video == decode(VideoEncoded, encoded())
    assert "colour" not in video.to_bytes().decode()
    body = orjson.loads(joined(1).to_bytes())
    body["request"]["new"] = 1
    assert decode_log(orjson.dumps({**body, "newer": 2})) == joined(1)


def test_ids_are_written_in_lower_case():
    """An id read in upper case is sent on in lower case."""
    assert orjson.loads(decode(VideoEncoded, encoded()).to_bytes())["video_id"] == VIDEO["video_id"].lower()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frame_count", "600"),
        ("frame_count", 600.5),
        ("frame_count", True),
        ("frame_count", None),
        ("frame_count", 2**31),
        ("cropped_frames_version", 0),
        ("cropped_frames_version", "1"),
        ("tenant_id", "../../etc/passwd"),
        ("tenant_id", "{11111111-2222-3333-4444-555555555555}"),
        ("video_id", 7),
        ("model_version", "../secret"),
        ("model_version", "m" * 65),
        ("model_version", "m\n"),
        ("priority", "urgent"),
        ("force", "yes"),
        ("force", 1),
        ("event_id", ""),
        ("event_id", "e" * 201),
        ("event_id", 5),
        ("occurred_at", "yesterday"),
        ("occurred_at", "2026-01-02T03:04:05"),
        ("schema_version", 2),
    ],
)
def test_a_wrong_field_is_named(field, value):
    """A field of a wrong type or out of its bounds makes the record poison, and the message names the field."""
    with pytest.raises(PoisonError, match=f"not a VideoEncoded: {field}: "):
        decode(VideoEncoded, encoded(**{field: value}))


@pytest.mark.parametrize("field", list(VIDEO))
def test_a_missing_field_is_named(field):
    """Each missing required field is named."""
    body = {name: value for name, value in VIDEO.items() if name != field}
    with pytest.raises(PoisonError, match=f"{field}: Field required"):
        decode(VideoEncoded, orjson.dumps(body))


@pytest.mark.parametrize("value", [None, b"", b"\xff\xfe", b"[]", b"7", b'"text"', b"null", b"{", b"{}"])
def test_what_is_no_record_is_poison(value):
    """Null, undecodable bytes and other JSON give one class of error, for every type of record."""
    for read in (lambda: decode(VideoEncoded, value), lambda: decode(Work, value), lambda: decode_log(value)):
        with pytest.raises(PoisonError):
            read()


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: orjson.dumps({**VIDEO, "tenant_id": text})))
def test_whatever_the_bytes_only_poison_is_raised(value):
    """No bytes make the decoder raise any other error."""
    for read in (lambda: decode(VideoEncoded, value), lambda: decode_log(value)):
        try:
            read()
        except PoisonError:
            continue


@pytest.mark.parametrize(
    "value",
    [
        orjson.dumps({**VIDEO, "tenant_id": "-" * 900_000 + "1" * 32}),
        orjson.dumps({**VIDEO, "priority": "p" * 900_000}),
        orjson.dumps({"kind": "k" * 900_000}),
        orjson.dumps({**orjson.loads(done(0).to_bytes()), "tenant_id": None, "engine": {"k" * 900_000: 1}}),
        orjson.dumps({"k" * 900_000: 1}),
    ],
)
def test_messages_are_short_whatever_is_wrong(value):
    """No record, however large, gives a message that does not fit into an event or a log line."""
    for read in (lambda: decode(VideoEncoded, value), lambda: decode_log(value)):
        with pytest.raises(PoisonError) as poison:
            read()
        assert len(str(poison.value)) < 2000


def test_messages_quote_no_values():
    """The message does not quote the values, which may be anything."""
    with pytest.raises(PoisonError) as poison:
        decode(VideoEncoded, encoded(frame_count="hunter2", model_version="hunter2/"))
    assert "hunter2" not in str(poison.value)


@pytest.mark.parametrize(
    "record",
    [
        started(),
        joined(1),
        taken(0),
        done(0),
        failed(0, final=False),
        failed(0, final=True),
        deadline(),
        cancelled(),
        finished(Outcome.COMPLETED, [1, 2]),
    ],
    ids=lambda record: record.kind,
)
def test_every_record_of_the_log_reads_back(record):
    """A written record reads back as the same record, with its kind and schema version."""
    assert decode_log(record.to_bytes()) == record
    body = orjson.loads(record.to_bytes())
    assert (body["kind"], body["schema_version"]) == (record.kind, 1)


def test_a_full_span_stays_under_30_kb():
    """The result of 512 pairs is 27 KB of probabilities and little else."""
    record = done(0, values=probabilities(0, 1026))
    assert len(record.to_bytes()) < 30_000
    assert isinstance(decode_log(record.to_bytes()), SpanDone)


def test_a_result_repeats_the_pins_of_its_work():
    """A result repeats the values that determine it, so that it can be compared with its run."""
    pinned = work(1)
    assert done(1).pins() == pinned.pins() == started().pins()
    assert done(1, precision=Precision.FLOAT16).pins() != pinned.pins()


def test_a_cancellation_names_run_and_attempt():
    """The record that workers follow says which attempt is no longer wanted."""
    cancellation = Cancelled(run_id=UUID(int=1), attempt=2, reason="failed")
    assert decode(Cancelled, cancellation.to_bytes()) == cancellation
