"""Records as other clients or attackers may write them, and bugs of the service that a single record triggers."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

import confluent_kafka
from aiokafka import AIOKafkaProducer

from core.identity import run_id
from inference.models.builtin import builtin_model_version
from streams.kafka.client import Published
from streams.kafka.connection import client_options
from streams.records import VideoEncoded, Work, decode
from tests.service.faults import Fault
from tests.service.installation import Installation
from tests.service.videos import VERSION, video
from tests.streams.kafka.hostile_producer import send_with_header_names

COMPLETED, REJECTED, FAILED = "inference.completed", "inference.rejected", "inference.failed"

TRIES: Final = 3
"""Tries of a record that fails unexpectedly, after which it becomes a dead letter."""

FRAMES: Final = 40
LONG_AGO_MS: Final = -70_000_000_000_000
"""Before the year 1."""

UNEXPECTED: Final = r"failed unexpectedly 3 times, the last time with RuntimeError: made to fail"


@dataclass(frozen=True, slots=True)
class Case:
    """A request and its expected outcome; ``says`` is a pattern that its message or reason matches."""

    name: str
    request: Published
    outcome: str
    says: str = ""


@dataclass(slots=True)
class Hostility:
    """Puts hostile records, and good ones, into the topics of an installation.

    Attributes:
        coordinator_faults, worker_faults: of the processes that read them.
        given_up: how many records become dead letters with the reason ``unexpected``.
        copied_work: videos one of whose work records is followed by a copy with headers that nobody can read.
    """

    service: Installation
    cases: list[Case] = field(default_factory=list)
    coordinator_faults: list[Fault] = field(default_factory=list)
    worker_faults: list[Fault] = field(default_factory=list)
    given_up: int = 0
    copied_work: list[UUID] = field(default_factory=list)

    async def good(self) -> None:
        video_id = await self._add()
        self.cases.append(Case("good", await self.service.submit(video_id, FRAMES), COMPLETED))

    async def long_ago(self) -> None:
        """A good request with a timestamp outside every calendar."""
        await self._send("before the year 1", await self._event(), timestamp_ms=LONG_AGO_MS)

    async def null(self) -> None:
        published = await self.service.send(None, key=b"some key")
        self.cases.append(Case("null", published, REJECTED, "the record has no value"))

    async def compressed(self, codec: str) -> None:
        """A good request in a batch that another client compressed."""
        event = await self._event()
        producer = confluent_kafka.Producer({"bootstrap.servers": self._servers, "compression.type": codec})
        placed: list[confluent_kafka.Message] = []
        producer.produce(self.service.topics.encoded, event.to_bytes(), on_delivery=lambda error, message: placed.append(message))
        producer.flush(30)
        (message,) = placed
        published = Published(UUID(int=0), self.service.topics.encoded, message.partition(), message.offset())
        self.cases.append(Case(f"compressed with {codec}", published, COMPLETED))

    async def header_name(self) -> None:
        """A good request with a header whose name is not UTF-8."""
        event, topic = await self._event(), self.service.topics.encoded
        async with AIOKafkaProducer(**client_options(self.service.kafka), acks="all") as producer:
            # That interface does not return its position, which is between these two.
            before = await producer.send_and_wait(topic, (await self._event()).to_bytes(), partition=0)
            send_with_header_names(self._servers, topic, [event.to_bytes()], b"\xff\xfeid")
        self.cases.append(Case("before a header's name", Published(UUID(int=0), topic, 0, before.offset), COMPLETED))
        self.cases.append(Case("header's name", Published(UUID(int=0), topic, 0, before.offset + 1), COMPLETED))

    async def aborted(self) -> None:
        """A request of an aborted transaction, which must never be read, followed by a good one in the same partition."""
        topic = self.service.topics.encoded
        producer = confluent_kafka.Producer({"bootstrap.servers": self._servers, "transactional.id": str(uuid4())})
        producer.init_transactions(60)
        producer.begin_transaction()
        producer.produce(topic, (await self._event()).to_bytes(), partition=0)
        producer.flush(60)
        producer.abort_transaction(60)

    async def stray(self, topic: str, value: bytes, headers: Mapping[str, bytes] | None = None) -> None:
        """A record in one of our topics that the service did not write."""
        async with AIOKafkaProducer(**client_options(self.service.kafka), acks="all") as producer:
            await producer.send_and_wait(topic, value, key=b"stray", headers=list((headers or {}).items()))

    async def fault_of_admission(self, times: int) -> None:
        """A request at which the coordinator fails, once or always."""
        video_id = await self._add()
        fault = Fault("streams.admission.run_lookup:fetch_layout", "before", (str(video_id),), how="raise")
        self.coordinator_faults += [fault] * times
        outcome = REJECTED if times == TRIES else COMPLETED
        await self._expect(f"admission fails {times} times", video_id, outcome, times)

    async def fault_of_folding(self, times: int) -> None:
        """A result that cannot be folded, once or never."""
        video_id = await self._add()
        fault = Fault("streams.agents.aggregate:fold", "before", ("SpanDone(", str(video_id)), how="raise")
        self.coordinator_faults += [fault] * times
        await self._expect(f"folding fails {times} times", video_id, FAILED if times == TRIES else COMPLETED, times)

    async def fault_of_inference(self, times: int) -> None:
        """A span at which the GPU worker fails, once or always."""
        video_id = await self._add()
        fault = Fault("streams.gpu_worker.span_frames:fetch_layout", "before", (str(video_id),), how="raise")
        self.worker_faults += [fault] * times
        await self._expect(f"inference fails {times} times", video_id, FAILED if times == TRIES else COMPLETED, times)

    async def work_with_headers(self) -> None:
        """A run with one work record that no client can read."""
        video_id = await self._add()
        published = await self.service.submit(video_id, FRAMES)
        self.copied_work.append(video_id)
        self.worker_faults.append(Fault("streams.gpu_worker.span_frames:fetch_layout", "before", (str(video_id),), how="pause"))
        self.cases.append(Case("work's headers", published, FAILED, "its work record was set aside: delivery headers that cannot be read"))

    async def copy_work(self) -> None:
        """Send the copies once the runs are admitted and before a GPU worker runs; each comes before the record that it copies."""
        await self.service.ledger.read_all()
        records = self.service.ledger.records["inference.work.high"]
        async with AIOKafkaProducer(**client_options(self.service.kafka), acks="all") as producer:
            for record in [*records]:
                try:
                    work = decode(Work, record.value)
                except Exception:
                    continue
                if work.video_id in self.copied_work:
                    await producer.send_and_wait(record.topic, record.value, key=record.key, headers=[("attempt", b"-1")])

    async def check(self) -> None:
        for case in self.cases:
            outcome = await self.service.ledger.outcome(case.request)
            message = outcome.body.get("reason", outcome.body.get("message", ""))
            assert outcome.name == case.outcome, f"{case.name} has ended in {outcome}"
            assert re.search(case.says, message or ""), f"{case.name}: {message}"

    @property
    def _servers(self) -> str:
        return ",".join(self.service.kafka.servers)

    async def _add(self) -> UUID:
        return await self.service.add(video(FRAMES))

    async def _event(self) -> VideoEncoded:
        ids = {"tenant_id": self.service.tenant_id, "video_id": await self._add()}
        return VideoEncoded(**ids, cropped_frames_version=VERSION, frame_count=FRAMES)

    async def _send(self, name: str, event: VideoEncoded, timestamp_ms: int) -> None:
        async with AIOKafkaProducer(**client_options(self.service.kafka), acks="all") as producer:
            sent = await producer.send_and_wait(self.service.topics.encoded, event.to_bytes(), timestamp_ms=timestamp_ms)
        self.cases.append(Case(name, Published(UUID(int=0), sent.topic, sent.partition, sent.offset), COMPLETED))

    async def _expect(self, name: str, video_id: UUID, outcome: str, times: int) -> None:
        self.given_up += times == TRIES
        published = await self.service.submit(video_id, FRAMES)
        self.cases.append(Case(name, published, outcome, UNEXPECTED if times == TRIES else ""))


def log_record(kind: str, tenant_id: UUID, **changes: Any) -> bytes:
    """A record for the log of an unknown run, as JSON with values that ours never has."""
    video_id = uuid4()
    run = run_id(tenant_id, video_id, 1, builtin_model_version())
    pins = {
        **{"run_id": str(run), "attempt": 1, "tenant_id": str(tenant_id), "video_id": str(video_id), "cropped_frames_version": 1},
        **{"frame_count": FRAMES, "model_version": builtin_model_version(), "checkpoint_sha256": "ab" * 32, "precision": "float32"},
        **{"layout_sha256": "cd" * 32, "priority": "high"},
    }
    place = {"source_topic": "video.encoded", "source_partition": 0, "source_offset": 0}
    own: dict[str, Any] = {
        "run_started": {
            **pins,
            "request": {"request_id": str(uuid4()), **place},
            "requested_at": "2026-01-02T03:04:05Z",
            "deadline_seconds": 3600,
            "estimated_cost_usd": 0.1,
            "gpu_usd_per_hour": 1.1,
            "model_checkpoint_path": "x",
        },
        "span_taken": {"run_id": str(run), "attempt": 1, "span": 0, "worker": "w", "taken_at": "2026-01-02T03:04:05Z"},
    }[kind]
    return json.dumps({"schema_version": 1, "kind": kind, **own, **changes}).encode()
