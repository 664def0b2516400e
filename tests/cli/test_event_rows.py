"""Outcome events are turned back into rows."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cli.operations.runs.event_rows import EventRows
from core.types import Outcome, RejectionType
from streams.records import InferenceCompleted, InferenceFailed, InferenceRejected, RequestRef

TENANT, VIDEO, RUN = UUID(int=1), UUID(int=2), UUID(int=3)
AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
IDS: dict[str, Any] = {"tenant_id": TENANT, "video_id": VIDEO, "cropped_frames_version": 1, "model_version": "m"}


def request(number: int, topic: str = "video.encoded", replay_id: str | None = None) -> RequestRef:
    return RequestRef(request_id=UUID(int=number), source_topic=topic, source_partition=0, source_offset=number, replay_id=replay_id)


def completed(*requests: RequestRef, attempt: int = 1, deduplicated: bool = False) -> InferenceCompleted:
    figures = {"queue_seconds": 1.0, "gpu_seconds": 2.0, "total_seconds": 30.0, "estimated_cost_usd": 0.5}
    place: dict[str, Any] = {"storage_key": "a/key", "label_counts": {}, "caption_count": 3, "pairs": 60}
    return InferenceCompleted(
        run_id=str(RUN), attempt=attempt, deduplicated=deduplicated, requests=list(requests), **IDS, **figures, **place
    )


def failed(*requests: RequestRef, attempt: int = 1) -> InferenceFailed:
    spans = {"spans_done": 0, "spans_total": 1}
    return InferenceFailed(run_id=RUN, attempt=attempt, outcome=Outcome.FAILED, reason="broken", requests=list(requests), **IDS, **spans)


def test_the_first_request_started_the_run_and_the_others_joined() -> None:
    """Each request has a row with its answer, and the job has the fields that the run's database lacks."""
    rows = EventRows(0.01)
    rows.add(completed(request(10, "prefix.video.encoded.low", "nightly"), request(11)), AT)
    first, second = rows.in_order()
    assert (first["decision"], first["priority"], first["answer"]) == ("run", "low", {"decision": "run", "run_id": str(RUN), "attempt": 1})
    assert (second["decision"], second["priority"], second["attempt"]) == ("join", "high", 1)
    job = rows.jobs[str(RUN)]
    assert (job["status"], job["replay_id"], job["estimated_cost_usd"], job["pairs_done"]) == ("completed", "nightly", 0.6, 60)
    assert datetime.fromisoformat(job["created_at"]) == AT - timedelta(seconds=30)


def test_a_found_run_is_answered_in_the_same_words_again() -> None:
    """The answer holds the event without its requests, as admission stores it, and there is no job row."""
    rows = EventRows(0.01)
    rows.add(completed(request(10), deduplicated=True), AT)
    (row,) = rows.in_order()
    assert (row["decision"], row["attempt"], row["answer"]["found_run"]["run_id"]) == ("found", None, str(RUN))
    summary = InferenceCompleted.model_validate_json(row["answer"]["found_run"]["event"])
    assert (summary.deduplicated, summary.requests, summary.caption_count) == (True, [], 3)
    assert rows.jobs == {}


def test_the_last_attempt_decides_about_a_job() -> None:
    """The last attempt counts, in whatever order the events come."""
    events = [failed(request(10)), completed(request(11), attempt=2)]
    for order in (events, events[::-1]):
        rows = EventRows(0.01)
        for event in order:
            rows.add(event, AT)
        assert (rows.jobs[str(RUN)]["status"], rows.jobs[str(RUN)]["attempt"]) == ("completed", 2)
        assert {row["decision"] for row in rows.in_order()} == {"run"}


def test_a_rejection_is_a_row_and_an_answer() -> None:
    """A rejection becomes a row and an answer. Rejections without ids, which never had a row, and those of other tenants are left out."""
    place = {"source_topic": "video.encoded", "source_partition": 0, "source_offset": 7}
    refused = InferenceRejected(request_id=UUID(int=10), rejection_type=RejectionType.COST_EXCEEDED, message="dear", **place, **IDS)
    rows = EventRows(0.01, TENANT)
    rows.add(refused, AT)
    rows.add(InferenceRejected(rejection_type=RejectionType.VALIDATION_FAILED, message="no ids", **place), AT)
    rows.add(refused.model_copy(update={"request_id": UUID(int=12), "tenant_id": UUID(int=9)}), AT)
    assert [row["rejection_type"] for row in rows.rejections.values()] == ["cost_exceeded"]
    (row,) = rows.in_order()
    assert row["answer"]["rejection"] == {"type": "cost_exceeded", "message": "dear"}
