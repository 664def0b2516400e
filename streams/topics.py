"""Names, partitions and retention of every topic, and their creation: workers never declare topics themselves."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError
from aiokafka.partitioner import murmur2

from core.errors import ConfigurationError
from core.settings import KafkaSettings, TopicSettings
from streams.connection import client_options

DAY_MS = 86_400_000
MAX_RECORD_BYTES = 4_194_304
"""Above Kafka's default of 1,048,588, so that the largest record another topic can hold fits into a dead letter with its headers."""

COORDINATOR = "coordinator"
GPU_WORKER = "gpu-worker"
RUNS_TABLE = "runs"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one installation; several may share brokers, told apart by a prefix."""

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
    def runs_changelog(self) -> str:
        return f"{self.group(COORDINATOR)}-{RUNS_TABLE}-changelog"

    def group(self, role: str) -> str:
        """Consumer group of a role, which is also the Faust app's id."""
        return self.name(f"extents-{role}")

    def results_partition(self, run_id: str) -> int:
        """Partition of a run's log: Kafka's default partitioner, computed here since tables need the number too."""
        return int(murmur2(run_id.encode()) & 0x7FFFFFFF) % self.settings.results_partitions

    def specs(self) -> list[TopicSpec]:
        requests, work, results = self.settings.request_partitions, self.settings.work_partitions, self.settings.results_partitions
        return [
            TopicSpec(self.encoded, requests, _kept(400)),
            TopicSpec(self.encoded_low, requests, _kept(400)),
            TopicSpec(self.work_high, work, _kept(14)),
            TopicSpec(self.work_low, work, _kept(14)),
            TopicSpec(self.results, results, _kept(14)),
            TopicSpec(self.cancelled, 1, _kept(7)),
            TopicSpec(self.completed, requests, _kept(30)),
            TopicSpec(self.rejected, requests, _kept(30)),
            TopicSpec(self.failed, requests, _kept(30)),
            TopicSpec(self.dead_letter, 1, {**_kept(30), "max.message.bytes": str(MAX_RECORD_BYTES)}),
            # Compacted alone, in small segments: a restart reads what is left of it, not everything ever written.
            TopicSpec(
                self.runs_changelog,
                results,
                {"cleanup.policy": "compact", "segment.bytes": "67108864", "segment.ms": "600000", "min.cleanable.dirty.ratio": "0.1"},
            ),
        ]


def _kept(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}


async def ensure_topics(specs: Iterable[TopicSpec], kafka: KafkaSettings) -> list[str]:
    """Create the topics that are missing and return their names.

    Raises:
        ConfigurationError: a topic exists with another number of partitions, which cannot be changed behind its users' backs.
    """
    specs = list(specs)
    admin = AIOKafkaAdminClient(**client_options(kafka))
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [spec for spec in specs if spec.name not in existing]
        config = {"min.insync.replicas": str(min(kafka.min_insync_replicas, kafka.replication_factor))}
        if missing:
            answer = await admin.create_topics(
                [
                    NewTopic(spec.name, spec.partitions, kafka.replication_factor, topic_configs={**config, **spec.config})
                    for spec in missing
                ]
            )
            for name, code, *reason in answer.topic_errors:
                if code not in (0, TopicAlreadyExistsError.errno):
                    raise ConfigurationError(f"topic {name} could not be created: {reason[0] if reason else code}")
        faults = [
            f"topic {name} has {found} partitions, expected {expected}"
            for name, found, expected in await _partition_faults(admin, [spec for spec in specs if spec.name in existing])
        ]
        if faults:
            raise ConfigurationError(
                "; ".join(faults) + ". Set the EXTENTS_*_PARTITIONS that they were made with, or choose another EXTENTS_TOPIC_PREFIX."
            )
        return [spec.name for spec in missing]
    finally:
        await admin.close()


async def _partition_faults(admin: AIOKafkaAdminClient, specs: list[TopicSpec]) -> list[tuple[str, int, int]]:
    if not specs:
        return []
    described = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics([spec.name for spec in specs])}
    return [(spec.name, described[spec.name], spec.partitions) for spec in specs if described[spec.name] != spec.partitions]


async def topic_config(admin: AIOKafkaAdminClient, name: str) -> dict[str, str]:
    """The settings of one topic, as the broker tells them."""
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    return {entry[0]: entry[1] for answer in answers for resource in answer.resources for entry in resource[4]}
