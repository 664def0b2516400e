"""One installation of the service on the shared stack: its own topics, bucket and processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from aiokafka import AIOKafkaProducer

from core.settings import KafkaSettings, TopicSettings
from storage.keys import Keys
from storage.objects import ObjectStore
from streams.client import Outcome, Published, publish
from streams.connection import client_options
from streams.records import VideoEncoded
from streams.topics import Topics
from tests.service.ledger import Ledger
from tests.service.processes import Processes
from tests.service.verifier import Evidence, Verifier
from tests.service.videos import VERSION, Video

SETTINGS = {
    "EXTENTS_HTTP_HOST": "127.0.0.1",
    "EXTENTS_HTTP_PORT": "0",
    "EXTENTS_REQUEST_PARTITIONS": "2",
    "EXTENTS_WORK_PARTITIONS": "4",
    "EXTENTS_RESULTS_PARTITIONS": "4",
    "EXTENTS_MAX_HIGH_JOBS_PER_HOUR": "100000",
    "EXTENTS_QUEUE_LIMIT": "100000",
    # A killed worker's partitions are given to others after this time.
    "KAFKA_SESSION_TIMEOUT_SECONDS": "2.5",
    "KAFKA_HEARTBEAT_INTERVAL_SECONDS": "0.5",
}


@dataclass(slots=True)
class Installation:
    """What a test asks of the service, and how it finds out what became of it."""

    kafka: KafkaSettings
    topics: Topics
    store: ObjectStore
    keys: Keys
    ledger: Ledger
    verifier: Verifier
    processes: Processes
    tenant_id: UUID = field(default_factory=uuid4)

    async def add(self, video: Video, *, tenant_id: UUID | None = None, version: int = VERSION) -> UUID:
        """Put a video into the store, as a new one."""
        video_id = uuid4()
        await video.upload(self.store, self.keys, tenant_id or self.tenant_id, video_id, version)
        return video_id

    async def submit(self, video_id: UUID, frame_count: int, **fields: object) -> Published:
        """Publish ``video.encoded``."""
        values = {"tenant_id": self.tenant_id, "video_id": video_id, "cropped_frames_version": VERSION, "frame_count": frame_count}
        return await publish(self.kafka, self.topics, VideoEncoded(**{**values, **fields}))  # type: ignore[arg-type]  # fields of a test

    async def run(self, video: Video, **fields: object) -> tuple[Published, Outcome]:
        """Put a video into the store, publish it, and wait for its outcome."""
        published = await self.submit(await self.add(video), video.frame_count, **fields)
        return published, await self.ledger.outcome(published)

    async def send(self, value: bytes | None, key: bytes | None = None, headers: Mapping[str, bytes] | None = None) -> Published:
        """Send any bytes to ``video.encoded``."""
        async with AIOKafkaProducer(**client_options(self.kafka), acks="all") as producer:
            sent = await producer.send_and_wait(self.topics.encoded, value, key=key, headers=list((headers or {}).items()))
        return Published(UUID(int=0), self.topics.encoded, sent.partition, sent.offset)

    async def settle(self) -> None:
        """Wait until all that was published is answered, and every run noted as finished."""
        await self.ledger.read_all()
        await self.ledger.until("outcomes of all requests", lambda: not self.verifier.unanswered())
        for outcome in self.ledger.outcomes:
            if "run_id" in outcome.body and self.ledger.log(outcome.body["run_id"]):
                await self.ledger.finished(outcome.body["run_id"])

    async def verify(self) -> Evidence:
        """Wait until the service has done its work, and check all of it."""
        await self.settle()
        return await self.verifier.verify()

    async def verify_at_rest(self) -> Evidence:
        """The same, once every record is acknowledged too; needs a worker of each role."""
        await self.settle()
        await self.ledger.until_committed("coordinator")
        await self.ledger.until_committed("gpu-worker")
        return await self.verifier.verify()


def topic_settings(environment: Mapping[str, str]) -> TopicSettings:
    sizes = {name: int(environment[f"EXTENTS_{name.upper()}"]) for name in ("request_partitions", "work_partitions", "results_partitions")}
    return TopicSettings(topic_prefix=environment["EXTENTS_TOPIC_PREFIX"], **sizes)
