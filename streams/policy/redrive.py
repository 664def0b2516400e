"""Plans how to redrive dead letters: the records to send, which can be shown first. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

from core.errors import PoisonError
from core.identity import NAMESPACE, run_id
from core.types import Priority
from streams.policy.stored_letters import StoredLetter
from streams.records import VideoEncoded, Work, decode
from streams.topics import Topics

HISTORY_HEADER: Final = "redriven_from"
"""Header with the ids of the dead letters that a record replaces, oldest first, separated by spaces. A run's work records pass it on."""

MAX_HISTORY_LETTERS: Final = 500
MAX_HISTORY_BYTES: Final = 16 * 1024

_ADDED_HEADERS: Final = ("origin", "reason", "error", "traceback", "tries", "run_id", "attempt", "not_before", "avoid")
"""Headers added when a record was dead-lettered or resent. They describe its history and are removed on redrive."""


@dataclass(frozen=True, slots=True)
class Step:
    """One record to send, in place of one or more dead letters.

    Attributes:
        action: a description of the step for people.
    """

    action: str
    letters: tuple[StoredLetter, ...]
    topic: str
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes]


def plan(letters: Iterable[StoredLetter], topics: Topics) -> list[Step]:
    """Return one step for each run with work records among the letters, and one for every other letter."""
    by_run: dict[UUID, list[StoredLetter]] = {}
    steps: list[Step] = []
    for letter in letters:
        work = _work(letter, topics)
        if work is None:
            steps.append(_resend_step(letter))
        else:
            by_run.setdefault(work.run_id, []).append(letter)
    return steps + [_request_step(run_letters, topics) for run_letters in by_run.values()]


def _resend_step(letter: StoredLetter) -> Step:
    """Send the same bytes to the topic from which they were first read."""
    headers = {name: value for name, value in letter.headers.items() if name not in _ADDED_HEADERS}
    return Step(f"send the record to {letter.topic} again", (letter,), letter.topic, letter.key, letter.value, headers | _history([letter]))


def _request_step(letters: list[StoredLetter], topics: Topics) -> Step:
    """Request the run of these work records again.

    The request id is derived from the run, its last attempt and the number of previous redrives. Redriving twice before the letters
    are marked as redriven is therefore one request; later it is a new one, since the previous request may have been rejected.
    """
    work = max((decode(Work, letter.value) for letter in letters), key=lambda work: work.attempt)
    forced = work.run_id != run_id(work.tenant_id, work.video_id, work.cropped_frames_version, work.model_version)
    redriven = max(letter.redriven for letter in letters)
    event_id = str(uuid5(NAMESPACE, f"redrive/{work.run_id}/{work.attempt}" + (f"/{redriven}" if redriven else "")))
    request = VideoEncoded(
        tenant_id=work.tenant_id,
        video_id=work.video_id,
        cropped_frames_version=work.cropped_frames_version,
        frame_count=work.frame_count,
        model_version=work.model_version,
        priority=work.priority,
        force=forced,
        event_id=event_id,
    )
    topic = topics.encoded_low if work.priority is Priority.LOW else topics.encoded
    action = f"request run {work.run_id} again, after attempt {work.attempt}"
    return Step(action, tuple(letters), topic, str(work.video_id).encode(), request.to_bytes(), _history(letters))


def _work(letter: StoredLetter, topics: Topics) -> Work | None:
    if letter.topic not in (topics.work_high, topics.work_low):
        return None
    try:
        return decode(Work, letter.value)
    except PoisonError:
        return None


def _history(letters: list[StoredLetter]) -> dict[str, bytes]:
    earlier = [letter_id for letter in letters for letter_id in letter.header(HISTORY_HEADER).split()]
    letter_ids = dict.fromkeys([*earlier, *(letter.id for letter in letters)])  # the letters of a run may share some history
    return {HISTORY_HEADER: " ".join(list(letter_ids)[-MAX_HISTORY_LETTERS:]).encode()}
