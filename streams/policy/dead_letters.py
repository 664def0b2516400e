"""Builds the records of ``inference.dead-letter``: the original key, bytes and headers, their origin, and the reason. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.redaction import redact, redact_bytes
from streams.policy.record_failures import UNEXPECTED, describe_failure, traceback_of
from streams.received import ReceivedRecord
from streams.records import Origin

MAX_ERROR_BYTES: Final = 1024
TRACEBACK_HEADER: Final = "traceback"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes]


def dead_letter_of(record: ReceivedRecord, reason: str, error: str) -> DeadLetter:
    """The dead letter of a record that this process has just read. See ``dead_letter``."""
    return dead_letter(record.key, record.value, record.headers, record.origin, reason, error, tries=0)


def unexpected_letter(record: ReceivedRecord, error: Exception, tries: int) -> DeadLetter:
    """The dead letter of a record whose handling failed because of a fault in the service, with the end of the traceback."""
    headers = {**record.headers, TRACEBACK_HEADER: redact_bytes(traceback_of(error))}
    return dead_letter(record.key, record.value, headers, record.origin, UNEXPECTED, describe_failure(error, tries), tries)


def dead_letter(
    key: bytes | None,
    value: bytes | None,
    headers: Mapping[str, bytes],
    origin: Origin,
    reason: str,
    error: str,
    tries: int,
    run_id: str | None = None,
) -> DeadLetter:
    """Build the dead letter of a record that will not be tried again.

    Args:
        headers: the record's own headers, kept unchanged.
        origin: where the record was first read, before any resend.
        reason: one of a few words by which metrics and commands group letters (``undecodable``, ``span_failed``, ...).
        error: what happened, for people; truncated to 1 KB, secrets masked. The record's own bytes stay unchanged.
        tries: how often the record was resent.
    """
    added = {
        "origin": origin_header(origin),
        "reason": reason.encode(),
        "error": redact(error).encode()[:MAX_ERROR_BYTES].decode(errors="ignore").encode(),  # not cut within a character
        "tries": str(tries).encode(),
    }
    if run_id is not None:
        added["run_id"] = run_id.encode()
    return DeadLetter(key, value if value is not None else b"", {**headers, **added})


def origin_header(origin: Origin) -> bytes:
    return f"{origin.topic}/{origin.partition}/{origin.offset}".encode()


def parse_origin(text: bytes) -> Origin:
    """Parse what ``origin_header`` wrote.

    Raises:
        ValueError: the text is not an origin.
    """
    try:
        topic, partition, offset = text.decode().rsplit("/", 2)
        return Origin(topic=topic, partition=int(partition), offset=int(offset))
    except ValueError:
        raise ValueError(f"{text[:100]!r} is not written as topic/partition/offset") from None
