"""A dead letter holds the original record, where it came from, and why it was set aside."""

import pytest
from faust.types import Message
from hypothesis import given
from hypothesis import strategies as st

from streams.policy.dead_letters import MAX_ERROR_BYTES, dead_letter, origin_header, parse_origin
from streams.processing.ordered_processor import received_record
from streams.records import Origin

ORIGIN = Origin(topic="test.inference.work.high", partition=3, offset=12)


@given(st.none() | st.binary(), st.none() | st.binary(), st.dictionaries(st.text(min_size=5, max_size=20).map("own-".__add__), st.binary()))
def test_the_original_is_kept(key, value, headers):
    """Key, bytes and headers are those of the record; a null value, which Faust cannot send, becomes empty."""
    letter = dead_letter(key, value, headers, ORIGIN, "poison", "it broke", 2)
    assert letter.key == key
    assert letter.value == (value or b"")
    assert {name: letter.headers[name] for name in headers} == headers


def test_headers_name_origin_reason_and_tries():
    """Origin, reason, error, tries and run are in separate headers."""
    letter = dead_letter(b"k", b"v", {"traceparent": b"t"}, ORIGIN, "span_failed", "chunk 7 is broken", 2, run_id="r")
    assert letter.headers == {
        "traceparent": b"t",
        "origin": b"test.inference.work.high/3/12",
        "reason": b"span_failed",
        "error": b"chunk 7 is broken",
        "tries": b"2",
        "run_id": b"r",
    }
    assert "run_id" not in dead_letter(b"k", b"v", {}, ORIGIN, "poison", "", 0).headers


@given(st.text(min_size=200, max_size=3000))
def test_an_error_is_cut_at_1_kb_between_characters(error):
    """An error of any length fits, and the rest of it can be read."""
    header = dead_letter(None, b"", {}, ORIGIN, "poison", error, 0).headers["error"]
    assert len(header) <= MAX_ERROR_BYTES
    assert error.startswith(header.decode())
    assert len(header) > min(len(error.encode()), MAX_ERROR_BYTES) - 4


@given(st.from_regex(r"[A-Za-z0-9._-]{1,100}", fullmatch=True), st.integers(0, 1000), st.integers(0, 2**62))
def test_an_origin_reads_back(topic, partition, offset):
    """The header of a resent record names the position of the original."""
    origin = Origin(topic=topic, partition=partition, offset=offset)
    assert parse_origin(origin_header(origin)) == origin


@pytest.mark.parametrize("text", [b"", b"topic", b"topic/1", b"topic/x/1", b"topic/1/-1", b"\xff/1/1"])
def test_a_malformed_origin_is_refused(text):
    """Headers of any content cause only one class of error."""
    with pytest.raises(ValueError, match="topic/partition/offset"):
        parse_origin(text)


def test_headers_without_a_value_are_empty():
    """Kafka allows headers without a value; of a repeated name, the last value counts."""

    def headers(raw_headers) -> dict[str, bytes]:
        return received_record(Message("t", 0, 0, 0.0, 0, raw_headers, None, b"", None)).headers

    assert headers([("a", None), ("b", b"1"), ("b", b"2")]) == {"a": b"", "b": b"2"}
    assert headers(None) == {}
    assert headers({"c": b"3"}) == {"c": b"3"}
