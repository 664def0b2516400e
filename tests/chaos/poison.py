"""Records, spans and models that cannot be handled, and the expected result of each."""

from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import UUID, uuid4

from aiokafka import AIOKafkaProducer

from core.types import Priority
from streams.kafka.client import Published
from streams.kafka.connection import client_options
from tests.service.faults import Fault
from tests.service.installation import Installation
from tests.service.models import push_model
from tests.service.videos import VERSION, Video, video

SMALL: Final = 40
LARGE: Final = 514
CHUNK: Final = "modulo_1/chunk_0000000001.webm"

COMPLETED, REJECTED, FAILED = "inference.completed", "inference.rejected", "inference.failed"

_COMPUTING: Final = "streams.gpu_worker.predictor:_predict"
STRAY: Final = b"stray"

Harm = Literal["fail", "kill", "hang", "starve"]


@dataclass(frozen=True, slots=True)
class Case:
    """A request and its expected outcome.

    Attributes:
        message: a pattern in the message of a rejection, or in the reason of a failure.
        outcome_after_repair: what a redrive of its dead letter must end in, after everything repairable has been repaired.
        video_id, frame_count: those of its video, if there is one.
    """

    name: str
    request: Published
    outcome: str
    message: str = ""
    outcome_after_repair: str | None = None
    video_id: UUID | None = None
    frame_count: int = 0


@dataclass(slots=True)
class Publisher:
    """Puts poison and good records into the topics of an installation.

    Attributes:
        faults: of every GPU worker that is started.
        once: of the workers that are started first only.
        removed: keys of objects that are removed after admission, and what replaces them.
        models: versions whose weights are among the removed objects.
        strays: how many records in the service's topics were not written by the service.
    """

    service: Installation
    cases: list[Case] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    once: list[Fault] = field(default_factory=list)
    removed: dict[str, bytes | None] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    strays: int = 0

    async def good(self, frame_count: int, priority: Priority) -> None:
        await self._submit("good", video(frame_count), COMPLETED, priority=priority)

    async def request(self, name: str, value: bytes | None, message: str) -> None:
        """Bytes that are not a request."""
        published = await self.service.send(value, key=b"some key", headers={"trace": b"\x00\xff"})
        self.cases.append(Case(name, published, REJECTED, message))

    async def stray(self, topic: str, value: bytes | None) -> None:
        """Bytes that are not a record of one of our topics."""
        async with AIOKafkaProducer(**client_options(self.service.kafka), acks="all") as producer:
            await producer.send_and_wait(topic, value, key=STRAY, headers=[("trace", b"\x00\xff")])
        self.strays += 1

    async def missing_chunk(self) -> None:
        await self._submit("missing chunk", video(SMALL).with_chunk(CHUNK, None), REJECTED, CHUNK)

    async def broken_chunk(self, name: str, data: bytes) -> None:
        await self._submit(f"chunk: {name}", video(SMALL).with_chunk(CHUNK, data), FAILED, CHUNK, outcome_after_repair=FAILED)

    async def chunk_that_goes(self) -> None:
        video_id = await self._submit("chunk: gone after admission", video(SMALL), FAILED, CHUNK, outcome_after_repair=REJECTED)
        self.removed[self.service.keys.chunk(self.service.tenant_id, video_id, VERSION, CHUNK)] = None

    async def span(self, how: Harm, message: str, outcome_after_repair: str | None = COMPLETED) -> None:
        """A span that does this to every worker that computes it."""
        video_id = await self._submit(f"span: {how}", video(SMALL), FAILED, message, outcome_after_repair=outcome_after_repair)
        self.faults.append(Fault(_COMPUTING, "before", (str(video_id),), how=how))

    async def span_once(self, how: Harm) -> None:
        """A span that does this only to the workers that are started first."""
        video_id = await self._submit(f"span: {how}, once", video(SMALL), COMPLETED)
        self.once.append(Fault(_COMPUTING, "before", (str(video_id),), how=how))

    async def model(self, name: str, data: bytes | None) -> None:
        """A model whose weights are gone (None) or replaced by the time they are needed."""
        await self._submit(
            f"model: {name}", video(SMALL), FAILED, "does not load", outcome_after_repair=COMPLETED, model_version=await self._push(data)
        )

    async def low_of_no_model(self, message: str) -> None:
        """The same for a run that waits for the model."""
        version = await self._push(None)
        await self._submit("model: gone, low priority", video(SMALL), FAILED, message, model_version=version, priority=Priority.LOW)

    async def take_away(self) -> None:
        """Remove the weights that are to be gone."""
        for key, data in self.removed.items():
            await (self.service.store.delete(key) if data is None else self.service.store.put(key, data))

    async def repair(self) -> None:
        """Push the models again."""
        for version in self.models:
            await push_model(self.service, version)

    async def _push(self, then: bytes | None) -> str:
        version = f"model-{uuid4().hex[:8]}"
        self.removed[await push_model(self.service, version)] = then
        self.models.append(version)
        return version

    async def _submit(
        self, name: str, film: Video, outcome: str, message: str = "", *, outcome_after_repair: str | None = None, **fields: object
    ) -> UUID:
        video_id = await self.service.add(film)
        request = await self.service.submit(video_id, film.frame_count, **fields)
        self.cases.append(Case(name, request, outcome, message, outcome_after_repair, video_id, film.frame_count))
        return video_id
