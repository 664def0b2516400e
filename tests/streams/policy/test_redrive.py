"""The request that repeats a failed run."""

from datetime import UTC, datetime

from core.settings import TopicSettings
from streams.policy.redrive import plan
from streams.policy.stored_letters import StoredLetter
from streams.records import VideoEncoded, decode
from streams.topics import Topics
from tests.streams.run_logs import work

TOPICS = Topics(TopicSettings(_env_file=None))


def event_ids(*redriven: int) -> set[str | None]:
    """Names of the requests from letters of one run that was redriven this often before."""
    letters = [
        StoredLetter(f"0/{span}", datetime(2026, 1, 1, tzinfo=UTC), b"k", work(span).to_bytes(), {"origin": origin()}, redriven=times)
        for span, times in enumerate(redriven)
    ]
    return {decode(VideoEncoded, step.value).event_id for step in plan(letters, TOPICS)}


def origin() -> bytes:
    return f"{TOPICS.work_high}/0/0".encode()


def test_redriving_twice_before_the_letter_is_marked_requests_once():
    """However many letters a run has, and whichever of them are chosen, there is one request."""
    assert len(event_ids(0)) == 1
    assert event_ids(0) == event_ids(0, 0)


def test_a_run_that_failed_twice_is_requested_once():
    """The letters of both attempts belong to one run: one more attempt follows the last, and knows all of them."""
    letters = [
        StoredLetter(f"0/{at}", datetime(2026, 1, 1, tzinfo=UTC), b"k", work(0, attempt=attempt).to_bytes(), {"origin": origin(), **more})
        for at, attempt, more in ((4, 1, {}), (9, 2, {"redriven_from": b"0/4"}))
    ]
    (step,) = plan(letters, TOPICS)
    assert step.action.endswith("after attempt 2")
    assert step.headers == {"redriven_from": b"0/4 0/9"}
    assert decode(VideoEncoded, step.value).event_id == decode(VideoEncoded, plan(letters[1:], TOPICS)[0].value).event_id


def test_redriving_a_marked_letter_is_another_request():
    """The first request may have been rejected by a temporary limit, which would be repeated as the answer forever."""
    assert len(event_ids(0) | event_ids(1) | event_ids(2)) == 3
    assert event_ids(1) == event_ids(0, 1)
