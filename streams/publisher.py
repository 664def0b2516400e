"""Publishes the service's records to their topics, with confirmation and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.metrics import DEAD_LETTERS, EVENTS
from core.redaction import redact_json
from core.types import Priority
from streams.policy.dead_letters import DeadLetter
from streams.policy.outcomes import OutcomeEvent
from streams.policy.quarantine import QuarantineNotice
from streams.processing.producer import Producer
from streams.records import Cancelled, VideoEncoded
from streams.runtime.assignment import Assignment
from streams.topics import Topics


@dataclass(frozen=True, slots=True)
class Publisher:
    """Every method returns when the brokers have confirmed the record.

    Raises:
        AssignmentRevoked: a rebalance or a shutdown began before the record was confirmed; it may have been sent.
    """

    topics: Topics
    producer: Producer

    async def publish_outcome(self, assignment: Assignment, event: OutcomeEvent) -> None:
        await self.producer.send(assignment, self.topics.name(event.name), event.key, redact_json(event.value), headers=event.headers)
        EVENTS.labels(event.name).inc()

    async def dead_letter(self, assignment: Assignment, letter: DeadLetter) -> None:
        await self.producer.send(assignment, self.topics.dead_letter, letter.key, letter.value, headers=letter.headers)
        topic = letter.headers["origin"].decode().rsplit("/", 2)[0]
        DEAD_LETTERS.labels(topic, letter.headers["reason"].decode()).inc()

    async def append_to_run_log(
        self,
        assignment: Assignment,
        run_id: str,
        value: bytes,
        grace_seconds: float = 0.0,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Append a record to the log of a run.

        Args:
            grace_seconds: how much longer the send may take once the assignment is revoked.
        """
        topic, partition = self.topics.results, self.topics.results_partition(run_id)
        await self.producer.send(
            assignment, topic, run_id.encode(), value, partition=partition, headers=headers, grace_seconds=grace_seconds
        )

    async def send_request(self, assignment: Assignment, priority: Priority, video: VideoEncoded, headers: Mapping[str, bytes]) -> None:
        """Send one request, as an encoder does."""
        topic = self.topics.encoded_low if priority is Priority.LOW else self.topics.encoded
        await self.producer.send(assignment, topic, str(video.video_id).encode(), video.to_bytes(), headers=headers)

    async def send_work(
        self,
        assignment: Assignment,
        priority: Priority,
        key: bytes | None,
        value: bytes,
        *,
        partition: int | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Send one span to the GPU workers."""
        await self.producer.send(assignment, self.topics.work(priority), key, value, partition=partition, headers=headers)

    async def notify_workers(self, assignment: Assignment, notice: Cancelled | QuarantineNotice) -> None:
        """Send a notice that every GPU worker reads: a cancelled attempt, or a span to compute alone."""
        await self.producer.send(assignment, self.topics.cancelled, str(notice.run_id).encode(), notice.to_bytes())
