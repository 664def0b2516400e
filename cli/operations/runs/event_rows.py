"""Turns outcome events into the rows that cannot be restored from the store: requests, failed jobs and rejections. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from streams.records import InferenceCompleted, InferenceFailed, InferenceRejected, RequestRef

Row = dict[str, Any]

LOW_TOPIC: Final = "video.encoded.low"


@dataclass(slots=True)
class EventRows:
    """The rows that follow from the events added so far, in any order, by their keys.

    Attributes:
        usd_per_pair: what admission expects a pair to cost.
        tenant_id: the tenant whose events count; None for all tenants.
        requests: one row for each answered request, by its id.
        jobs: the last attempt of each run that ended, by run_id.
        rejections: by request id. Acknowledgements are lost.
    """

    usd_per_pair: float
    tenant_id: UUID | None = None
    requests: dict[str, Row] = field(default_factory=dict)
    jobs: dict[str, Row] = field(default_factory=dict)
    rejections: dict[str, Row] = field(default_factory=dict)

    def add(self, event: InferenceCompleted | InferenceFailed | InferenceRejected, at: datetime) -> None:
        if self.tenant_id is not None and event.tenant_id != self.tenant_id:
            return
        match event:
            case InferenceCompleted():
                self._add_completed(event, at)
            case InferenceFailed():
                self._add_failed(event, at)
            case InferenceRejected():
                self._add_rejected(event, at)

    def in_order(self) -> list[Row]:
        """Return the requests by the time of their outcome, which is the best available estimate of the order of their decisions."""
        return sorted(self.requests.values(), key=lambda row: (row["created_at"], row["source_partition"], row["source_offset"]))

    def _add_completed(self, event: InferenceCompleted, at: datetime) -> None:
        began = at - timedelta(seconds=event.total_seconds)
        if event.deduplicated:
            summary = event.model_copy(update={"requests": []}).to_bytes().decode()
            answer = {"decision": "found", "run_id": event.run_id, "found_run": {"run_id": event.run_id, "event": summary}}
            for request in event.requests:
                self._add_request(event, request, None, answer, at)
            return
        self._add_run_requests(event, event.attempt, event.requests, began)
        measured = {
            "pairs_total": event.pairs,
            "pairs_done": event.pairs,
            "gpu_seconds": event.gpu_seconds,
            "estimated_cost_usd": event.pairs * self.usd_per_pair,
        }
        self._add_job(event, at, began, {"status": "completed", "error_message": None, **measured})

    def _add_failed(self, event: InferenceFailed, at: datetime) -> None:
        self._add_run_requests(event, event.attempt, event.requests, at)
        unknown = {"pairs_total": None, "pairs_done": 0, "gpu_seconds": None, "estimated_cost_usd": None}
        self._add_job(event, at, at, {"status": "failed", "error_message": event.reason, **unknown})

    def _add_job(self, event: InferenceCompleted | InferenceFailed, at: datetime, began: datetime, outcome: Row) -> None:
        run_id = str(event.run_id)
        present = self.jobs.get(run_id)
        if not event.requests or (present is not None and present["attempt"] >= event.attempt):
            return
        first = event.requests[0]
        self.jobs[run_id] = {
            "run_id": run_id,
            "attempt": event.attempt,
            "request_id": str(first.request_id),
            "replay_id": first.replay_id,
            "tenant_id": str(event.tenant_id),
            "video_id": str(event.video_id),
            "cropped_frames_version": event.cropped_frames_version,
            "model_version": event.model_version,
            "priority": _priority(first),
            "created_at": began.isoformat(),
            "completed_at": at.isoformat(),
            **outcome,
        }

    def _add_rejected(self, event: InferenceRejected, at: datetime) -> None:
        if event.request_id is None or event.tenant_id is None or event.video_id is None:
            return  # the record held no ids, so it never had a row
        row: Row = {
            "id": str(event.request_id),
            "tenant_id": str(event.tenant_id),
            "video_id": str(event.video_id),
            "rejection_type": event.rejection_type.value,
            "rejection_message": event.message,
            "frame_count": event.frame_count,
            "estimated_cost_usd": event.estimated_cost_usd,
            "cropped_frames_version": event.cropped_frames_version,
            "model_version": event.model_version,
            "priority": event.priority.value if event.priority else None,
            "created_at": at.isoformat(),
        }
        self.rejections[row["id"]] = row
        answer = {"decision": "rejected", "run_id": None, "rejection": {"type": event.rejection_type.value, "message": event.message}}
        request = RequestRef(
            request_id=event.request_id,
            event_id=event.event_id,
            source_topic=event.source_topic,
            source_partition=event.source_partition,
            source_offset=event.source_offset,
        )
        self._add_request(event, request, None, answer, at)

    def _add_run_requests(
        self, event: InferenceCompleted | InferenceFailed, attempt: int, requests: list[RequestRef], at: datetime
    ) -> None:
        """Add requests of a run: the first started the attempt, and the others joined it."""
        for number, request in enumerate(requests):
            decision = "join" if number else "run"
            self._add_request(event, request, attempt, {"decision": decision, "run_id": str(event.run_id), "attempt": attempt}, at)

    def _add_request(
        self,
        event: InferenceCompleted | InferenceFailed | InferenceRejected,
        request: RequestRef,
        attempt: int | None,
        answer: Mapping[str, Any],
        at: datetime,
    ) -> None:
        row: Row = {
            "request_id": str(request.request_id),
            "tenant_id": str(event.tenant_id),
            "video_id": str(event.video_id),
            "run_id": answer["run_id"],
            "attempt": attempt,
            "decision": answer["decision"],
            "answer": dict(answer),
            "priority": _priority(request),
            "event_id": request.event_id,
            "source_topic": request.source_topic,
            "source_partition": request.source_partition,
            "source_offset": request.source_offset,
            "created_at": at.isoformat(),
        }
        self.requests.setdefault(row["request_id"], row)


def _priority(request: RequestRef) -> str:
    """Return the priority according to the topic: the event contains nothing else about it."""
    return "low" if request.source_topic.endswith(LOW_TOPIC) else "high"
