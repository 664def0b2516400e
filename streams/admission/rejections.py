"""Rejects requests: each gets its outcome event, and its record becomes a dead letter if the database has no row about it."""

from dataclasses import dataclass

from core.admission import Rejection
from core.logging import get_logger
from core.metrics import REJECTIONS
from core.types import RejectionType
from streams.admission.candidate import Candidate
from streams.policy.dead_letters import dead_letter_of
from streams.policy.outcomes import rejected
from streams.publisher import Publisher
from streams.received import ReceivedRecord
from streams.records import InferenceRejected
from streams.runtime.assignment import Assignment

log = get_logger(__name__)

MAX_QUOTED_KEY_BYTES = 200
"""Bytes of a received key that an event quotes: enough to recognise the record."""


@dataclass(frozen=True, slots=True)
class Rejections:
    """Every method may be repeated. It returns when the brokers have confirmed what it sent."""

    publisher: Publisher

    async def reject(self, candidate: Candidate, rejection: Rejection) -> None:
        """Publish the event of a rejection."""
        REJECTIONS.labels(rejection.type).inc()
        record, request = candidate.record, candidate.request
        body = InferenceRejected(
            source_topic=record.topic,
            source_partition=record.partition,
            source_offset=record.offset,
            request_id=request.request_id,
            event_id=request.event_id,
            tenant_id=request.tenant_id,
            video_id=request.video_id,
            cropped_frames_version=request.cropped_frames_version,
            frame_count=request.frame_count,
            model_version=request.model_version,
            priority=request.priority,
            rejection_type=rejection.type,
            message=rejection.message,
            estimated_cost_usd=request.estimated_cost_usd,
        )
        event = rejected(body, record.timestamp_ms, record.key, candidate.ref.trace)
        await self.publisher.publish_outcome(candidate.assignment, event)

    async def reject_without_row(self, candidate: Candidate, rejection: Rejection, reason: str) -> None:
        """Publish the event, and keep the record as a dead letter of this reason."""
        log.warning("request.refused", **candidate.record.log_fields, reason=reason, error=rejection.message)
        await self.reject(candidate, rejection)
        await self.publisher.dead_letter(candidate.assignment, dead_letter_of(candidate.record, reason, rejection.message))

    async def reject_unidentified(self, record: ReceivedRecord, assignment: Assignment, message: str) -> None:
        """Publish the event of a record that names no video. It contains the record's position and the received key."""
        REJECTIONS.labels(RejectionType.VALIDATION_FAILED).inc()
        body = InferenceRejected(
            source_topic=record.topic,
            source_partition=record.partition,
            source_offset=record.offset,
            received_key=None if record.key is None else record.key[:MAX_QUOTED_KEY_BYTES].decode(errors="replace"),
            rejection_type=RejectionType.VALIDATION_FAILED,
            message=message,
        )
        event = rejected(body, record.timestamp_ms, record.key, record.trace)
        await self.publisher.publish_outcome(assignment, event)
