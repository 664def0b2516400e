"""Client side: publishes a request and waits for its outcome. Used by the commands, the demo and the tests."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord

from core.identity import request_id
from core.settings import KafkaSettings
from core.trace_context import TraceContext
from core.types import Priority
from streams.kafka.connection import client_options
from streams.records import VideoEncoded
from streams.topics import Topics


@dataclass(frozen=True, slots=True)
class Published:
    """A published request and its position."""

    request_id: UUID
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class ReceivedOutcome:
    """An outcome event.

    Attributes:
        name: ``inference.completed``, ``inference.rejected`` or ``inference.failed``.
        body: the decoded value.
        headers: all headers as text, including ``ce_id``.
    """

    name: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]

    def answers(self, request: UUID) -> bool:
        named = [self.body.get("request_id"), *(ref.get("request_id") for ref in self.body.get("requests", ()))]
        return str(request) in named


async def publish(kafka: KafkaSettings, topics: Topics, video: VideoEncoded, trace: TraceContext | None = None) -> Published:
    """Send one ``video.encoded`` record with confirmation. Low-priority requests have their own topic."""
    topic = topics.encoded_low if video.priority is Priority.LOW else topics.encoded
    headers = list(trace.headers().items()) if trace else []
    async with AIOKafkaProducer(**client_options(kafka), acks="all") as producer:
        sent = await producer.send_and_wait(topic, video.to_bytes(), key=str(video.video_id).encode(), headers=headers)
    source = video.event_id or f"{topic}/{sent.partition}/{sent.offset}"
    request = request_id(video.tenant_id, video.video_id, video.cropped_frames_version, source)
    return Published(request, topic, sent.partition, sent.offset)


class OutcomeReader:
    """Reads the outcome topics without a consumer group: either from their beginning, or only what is published once it is entered."""

    NAMES = ("inference.completed", "inference.rejected", "inference.failed")

    def __init__(self, kafka: KafkaSettings, topics: Topics, *, from_beginning: bool = False) -> None:
        self._names = {topics.name(name): name for name in self.NAMES}
        self._from_beginning = from_beginning
        reset = "earliest" if from_beginning else "latest"  # a pending reset must not undo the seek
        self._consumer = AIOKafkaConsumer(*self._names, **client_options(kafka), enable_auto_commit=False, auto_offset_reset=reset)

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        await (self._consumer.seek_to_beginning() if self._from_beginning else self._consumer.seek_to_end())
        # A seek takes effect with the next fetch. Reading the positions applies it now, before anything is published.
        await asyncio.gather(*(self._consumer.position(tp) for tp in self._consumer.assignment()))
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._consumer.stop()

    async def __aiter__(self) -> AsyncIterator[ReceivedOutcome]:
        async for record in self._consumer:
            yield self._outcome(record)

    async def wait_for(self, request: UUID) -> ReceivedOutcome:
        """Wait for the first outcome that answers this request."""
        async for outcome in self:
            if outcome.answers(request):
                return outcome
        raise AssertionError("the consumer ended unexpectedly")

    def _outcome(self, record: ConsumerRecord) -> ReceivedOutcome:
        headers = {name: value.decode() for name, value in record.headers}
        return ReceivedOutcome(self._names[record.topic], orjson.loads(record.value), headers)
