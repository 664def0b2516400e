"""Names, partitions and retention of every topic."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from aiokafka.partitioner import murmur2

from core.settings import TopicSettings
from core.types import Priority

DAY_MS = 86_400_000
MAX_RECORD_BYTES = 4_194_304
"""Above Kafka's default of 1,048,588, so that the largest record of any other topic fits into a dead letter with extra headers."""

HEARTBEATS_KEPT: Final = timedelta(days=1)
"""Retention of the heartbeats topic."""

COORDINATOR: Final = "coordinator"
GPU_WORKER: Final = "gpu-worker"
RUNS_TABLE = "runs"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """The expected properties of a topic.

    Attributes:
        needed: whether workers wait until it exists. They can do all of their work without the others.
    """

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one installation. Several installations may share brokers, each with its own prefix."""

    settings: TopicSettings

    def name(self, base: str) -> str:
        return f"{self.settings.topic_prefix}{base}"

    @property
    def encoded(self) -> str:
        return self.name("video.encoded")

    @property
    def encoded_low(self) -> str:
        return self.name("video.encoded.low")

    @property
    def work_high(self) -> str:
        return self.name("inference.work.high")

    @property
    def work_low(self) -> str:
        return self.name("inference.work.low")

    def work(self, priority: Priority) -> str:
        return self.work_high if priority is Priority.HIGH else self.work_low

    @property
    def results(self) -> str:
        return self.name("inference.results")

    @property
    def cancelled(self) -> str:
        return self.name("inference.cancelled")

    @property
    def completed(self) -> str:
        return self.name("inference.completed")

    @property
    def rejected(self) -> str:
        return self.name("inference.rejected")

    @property
    def failed(self) -> str:
        return self.name("inference.failed")

    @property
    def dead_letter(self) -> str:
        return self.name("inference.dead-letter")

    @property
    def workers(self) -> str:
        """The workers' heartbeats."""
        return self.name("inference.workers")

    @property
    def runs_changelog(self) -> str:
        return f"{self.group(COORDINATOR)}-{RUNS_TABLE}-changelog"

    def group(self, role: str) -> str:
        """The consumer group of a role, which is also the id of its Faust app."""
        return self.name(f"extents-{role}")

    def results_partition(self, run_id: str) -> int:
        """The partition of a run's log, by Kafka's default partitioner. Computed here because the table needs the number as well."""
        return int(murmur2(run_id.encode()) & 0x7FFFFFFF) % self.settings.results_partitions

    def specs(self) -> list[TopicSpec]:
        requests, work, results = self.settings.request_partitions, self.settings.work_partitions, self.settings.results_partitions
        return [
            TopicSpec(self.encoded, requests, _deleted_after(400)),
            TopicSpec(self.encoded_low, requests, _deleted_after(400)),
            TopicSpec(self.work_high, work, _deleted_after(14)),
            TopicSpec(self.work_low, work, _deleted_after(14)),
            TopicSpec(self.results, results, _deleted_after(14)),
            TopicSpec(self.cancelled, 1, _deleted_after(7)),
            TopicSpec(self.completed, requests, _deleted_after(30)),
            TopicSpec(self.rejected, requests, _deleted_after(30)),
            TopicSpec(self.failed, requests, _deleted_after(30)),
            TopicSpec(self.dead_letter, 1, {**_deleted_after(30), "max.message.bytes": str(MAX_RECORD_BYTES)}),
            # The last heartbeat of each worker. The brokers set the timestamps, so that one clock serves all workers.
            TopicSpec(
                self.workers,
                1,
                {
                    "cleanup.policy": "compact,delete",
                    "retention.ms": str(int(1000 * HEARTBEATS_KEPT.total_seconds())),
                    "message.timestamp.type": "LogAppendTime",
                    "segment.bytes": "16777216",
                    "segment.ms": "600000",
                },
                needed=False,
            ),
            # Only compacted, in small segments, so that a restart reads the latest values and not everything ever written.
            TopicSpec(
                self.runs_changelog,
                results,
                {"cleanup.policy": "compact", "segment.bytes": "67108864", "segment.ms": "600000", "min.cleanable.dirty.ratio": "0.1"},
            ),
        ]


def _deleted_after(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}
