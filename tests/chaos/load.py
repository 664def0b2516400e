"""Publishes videos gradually, so that several runs are in flight for as long as a scenario lasts."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID, uuid4

from aiokafka import AIOKafkaProducer

from core.identity import request_id
from streams.kafka.client import Published
from streams.kafka.connection import client_options
from streams.records import VideoEncoded
from tests.service.installation import Installation
from tests.service.verifier import Evidence
from tests.service.videos import VERSION, video

SIZES: Final = (40, 514, 1026)
"""Frames of the videos: one span, two, and three. The last of several spans has one pair, since pairs take time."""
WEIGHTS: Final = (8, 3, 1)
"""How often each video is requested."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A request, the frames of its video, and when it was published, in seconds since 1970."""

    published: Published
    frame_count: int
    at: float


@dataclass(slots=True)
class Load:
    """Publishes to one installation, with one producer. Entered and left within one event loop."""

    service: Installation
    rng: random.Random
    submitted: list[Submitted] = field(default_factory=list)
    _producer: AIOKafkaProducer = field(init=False)

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(**client_options(self.service.kafka), acks="all")
        await self._producer.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._producer.stop()

    async def publish(self, frame_counts: Sequence[int]) -> list[Submitted]:
        """Store new videos of these sizes, and request each as soon as it is stored."""
        return list(await asyncio.gather(*(self._add_and_request(frames) for frames in frame_counts)))

    async def request(self, video_id: UUID, frame_count: int) -> Submitted:
        """Publish a separate request for a stored video."""
        tenant_id, event_id = self.service.tenant_id, str(uuid4())
        event = VideoEncoded(
            tenant_id=tenant_id, video_id=video_id, cropped_frames_version=VERSION, frame_count=frame_count, event_id=event_id
        )
        topic, at = self.service.topics.encoded, time.time()
        sent = await self._producer.send_and_wait(topic, event.to_bytes(), key=str(video_id).encode())
        published = Published(request_id(tenant_id, video_id, VERSION, event_id), topic, sent.partition, sent.offset)
        self.submitted.append(Submitted(published, frame_count, at))
        return self.submitted[-1]

    async def keep_in_flight(self, runs: int) -> None:
        """Publish this many videos of random sizes, so that ``runs`` requests wait for their outcome."""
        await self.publish(self.choose(runs - len(self.unanswered())))

    def choose(self, count: int) -> list[int]:
        """Sizes of this many videos; none if ``count`` is below one."""
        return self.rng.choices(SIZES, WEIGHTS, k=max(0, count))

    def unanswered(self) -> list[Submitted]:
        """Requests whose outcome has not been read yet."""
        answered = {ref["request_id"] for outcome in self.service.ledger.outcomes for ref in outcome.body.get("requests", [outcome.body])}
        return [item for item in self.submitted if str(item.published.request_id) not in answered]

    async def _add_and_request(self, frame_count: int) -> Submitted:
        return await self.request(await self.service.add(video(frame_count)), frame_count)


def check_results(evidence: Evidence, submitted: Sequence[Submitted], undisturbed: Mapping[int, bytes]) -> None:
    """Check that each of these requests was completed, with the probabilities of an undisturbed run."""
    for item in submitted:
        check_result(evidence, str(item.published.request_id), undisturbed[item.frame_count])


def check_result(evidence: Evidence, request: str, undisturbed: bytes) -> None:
    """Check the same for one request, by its id."""
    outcome = evidence.outcomes[request]
    assert outcome.name == "inference.completed", f"request {request} has ended in {outcome}"
    probabilities = evidence.runs[outcome.body["run_id"]].probabilities.tobytes()
    assert probabilities == undisturbed, f"request {request} has other probabilities than a run that nothing happened to"
