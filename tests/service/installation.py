"""One installation of the service on a stack: its own topics, bucket and processes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

from aiokafka import AIOKafkaProducer

from core.settings import KafkaSettings, KeySettings, TopicSettings
from core.trace_context import TraceContext
from devstack.stack import OwnedStack
from storage.keys import Keys
from storage.objects import ObjectStore, ObjectStoreConfig
from streams.kafka.client import Published, ReceivedOutcome, publish
from streams.kafka.connection import client_options
from streams.kafka.topic_admin import ensure_topics
from streams.records import VideoEncoded
from streams.topics import Topics
from tests.database.existing import SCHEMA, add_video
from tests.service.ledger import Ledger
from tests.service.processes import Processes
from tests.service.verifier import Evidence, Verifier
from tests.service.videos import VERSION, Video

SETTINGS = {
    "EXTENTS_HTTP_PORT": "0",
    "EXTENTS_REQUEST_PARTITIONS": "2",
    "EXTENTS_WORK_PARTITIONS": "4",
    "EXTENTS_RESULTS_PARTITIONS": "4",
    "EXTENTS_MAX_HIGH_JOBS_PER_HOUR": "100000",
    "EXTENTS_QUEUE_LIMIT": "100000",
    # On a busy machine a span may take minutes: it is slow, not hung.
    "EXTENTS_DECODE_LIMIT_SECONDS": "900",
    "EXTENTS_PREDICT_LIMIT_SECONDS": "900",
    # A killed worker's partitions are given to others after this time.
    "KAFKA_SESSION_TIMEOUT_SECONDS": "2.5",
    "KAFKA_HEARTBEAT_INTERVAL_SECONDS": "0.5",
}


@dataclass(slots=True)
class Installation:
    """What a test requests from the service, and how it learns the result.

    Attributes:
        knows_videos: the database has a table of videos, and no row can be about another.
    """

    kafka: KafkaSettings
    topics: Topics
    store: ObjectStore
    keys: Keys
    ledger: Ledger
    verifier: Verifier
    processes: Processes
    knows_videos: bool = False
    tenant_id: UUID = field(default_factory=uuid4)

    async def add(self, video: Video, *, tenant_id: UUID | None = None, version: int = VERSION) -> UUID:
        """Store a video as a new one."""
        video_id = uuid4()
        if self.knows_videos:
            add_video(self.verifier.dsn, self.verifier.schema, tenant_id or self.tenant_id, video_id)
        await video.upload(self.store, self.keys, tenant_id or self.tenant_id, video_id, version)
        return video_id

    async def submit(self, video_id: UUID, frame_count: int, *, trace: TraceContext | None = None, **fields: object) -> Published:
        """Publish ``video.encoded``."""
        values = {"tenant_id": self.tenant_id, "video_id": video_id, "cropped_frames_version": VERSION, "frame_count": frame_count}
        return await publish(self.kafka, self.topics, VideoEncoded(**{**values, **fields}), trace)  # type: ignore[arg-type]  # fields of a test

    async def run(self, video: Video, **fields: object) -> tuple[Published, ReceivedOutcome]:
        """Store a video, publish it, and wait for its outcome."""
        published = await self.submit(await self.add(video), video.frame_count, **fields)
        return published, await self.ledger.outcome(published)

    async def send(self, value: bytes | None, key: bytes | None = None, headers: Mapping[str, bytes] | None = None) -> Published:
        """Send any bytes to ``video.encoded``."""
        async with AIOKafkaProducer(**client_options(self.kafka), acks="all") as producer:
            sent = await producer.send_and_wait(self.topics.encoded, value, key=key, headers=list((headers or {}).items()))
        return Published(UUID(int=0), self.topics.encoded, sent.partition, sent.offset)

    async def settle(self) -> None:
        """Wait until everything published is answered, and every run is recorded as finished."""
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
        """The same, once every record is acknowledged too; this needs a worker of each role."""
        await self.settle()
        await self.ledger.until_committed("coordinator")
        await self.ledger.until_committed("gpu-worker")
        return await self.verifier.verify()


@asynccontextmanager
async def installed(stack: OwnedStack, settings: Mapping[str, str], folder: Path) -> AsyncIterator[Installation]:
    """Separate topics and a bucket; no process is running yet, and later ones end with this block.

    Args:
        settings: the workers' settings in addition to the common ones. The tests themselves use the stack's servers directly.
        folder: where the workers' logs are written.
    """
    name = uuid4().hex[:12]
    own = {"WASABI_BUCKET": f"{stack.config.bucket}-{name}", "EXTENTS_TOPIC_PREFIX": f"test-{name}."}
    stack.create_bucket(own["WASABI_BUCKET"])
    environment = {**stack.env, **SETTINGS, **own, **settings}
    kafka = KafkaSettings(
        bootstrap_servers=stack.env["KAFKA_BOOTSTRAP_SERVERS"],
        replication_factor=int(stack.env["KAFKA_REPLICATION_FACTOR"]),
        min_insync_replicas=int(stack.env["KAFKA_MIN_INSYNC_REPLICAS"]),
    )
    topics = Topics(topic_settings(environment))
    await ensure_topics(topics.specs(), kafka)
    keys = Keys(**{f"{kind}_template": KeySettings.model_fields[kind].default for kind in ("chunk", "layout", "run_db", "model")})
    processes = Processes(environment, folder)
    try:
        async with ObjectStore(_store_config({**stack.env, **own})) as store, Ledger(kafka, topics) as ledger:
            schema = environment["SUPABASE_SCHEMA"]
            verifier = Verifier(ledger, store, keys, stack.dsn, schema)
            yield Installation(kafka, topics, store, keys, ledger, verifier, processes, knows_videos=schema == SCHEMA)
    finally:
        processes.close()


def topic_settings(environment: Mapping[str, str]) -> TopicSettings:
    sizes = {name: int(environment[f"EXTENTS_{name.upper()}"]) for name in ("request_partitions", "work_partitions", "results_partitions")}
    return TopicSettings(topic_prefix=environment["EXTENTS_TOPIC_PREFIX"], **sizes)


def _store_config(environment: Mapping[str, str]) -> ObjectStoreConfig:
    return ObjectStoreConfig(
        bucket=environment["WASABI_BUCKET"],
        access_key=environment["WASABI_ACCESS_KEY"],
        secret_key=environment["WASABI_SECRET_KEY"],
        region=environment["WASABI_REGION"],
        endpoint_url=environment["WASABI_ENDPOINT"],
        pool_size=16,
        timeout_seconds=20,
    )
