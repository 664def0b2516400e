"""Repeated deliveries, by any process and in any order, change nothing."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer, ConsumerRecord

from core.identity import request_id
from streams.kafka.connection import client_options
from streams.records import VideoEncoded
from tests.chaos.figures import Report
from tests.chaos.fleet import Fleet
from tests.chaos.history import ECHO, History
from tests.chaos.load import SIZES, WEIGHTS, Load, Submitted, check_result, check_results
from tests.chaos.scale import Chaos
from tests.patience import Deadline
from tests.service.installation import Installation
from tests.service.processes import WAIT_SECONDS
from tests.service.videos import VERSION, video

pytestmark = pytest.mark.asyncio(loop_scope="module")

BROKEN_CHUNK = "modulo_1/chunk_0000000001.webm"


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"KAFKA_SESSION_TIMEOUT_SECONDS": "20", "KAFKA_HEARTBEAT_INTERVAL_SECONDS": "3"}  # nobody is killed here


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(service: Installation, undisturbed: Mapping[int, bytes]):
    """Two workers of each role."""
    async with Fleet(service) as fleet:
        fleet.start("coordinator", 2), fleet.start("gpu", 2)
        await fleet.settled()
        yield fleet


async def test_every_event_three_times_at_once(
    service: Installation, fleet: Fleet, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report
) -> None:
    """If three producers send all events at once in different orders, each event is one request, and each span is computed once."""
    sizes = chaos.rng.choices(SIZES, WEIGHTS, k=chaos.of(full=30, short=6))
    events = list(await asyncio.gather(*(add_event(service, frames) for frames in sizes)))
    again = chaos.rng.sample(events, len(events) // 3)
    events += [event.model_copy(update={"event_id": str(uuid4())}) for event in again]  # another request for the same video
    before = len(service.ledger.records["video.encoded"])
    await asyncio.gather(*(send_all(service, chaos.rng.sample(events, len(events))) for _ in range(3)))
    evidence = await service.verify_at_rest()
    for event in events:
        request_name = request_id(event.tenant_id, event.video_id, VERSION, str(event.event_id))
        check_result(evidence, str(request_name), undisturbed[event.frame_count])
    assert len(service.ledger.records["video.encoded"]) == before + 3 * len(events)
    history = History(service.ledger)
    history.read()
    rework = history.check_rework(fleet.disturbances)
    assert (rework.resent_spans, rework.rework_spans) == (0, 0)
    report.note(videos=len(sizes), requests=len(events), events=3 * len(events), **rework.figures())


async def test_results_three_times_out_of_order(
    service: Installation, fleet: Fleet, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report
) -> None:
    """Every record of every log may be sent twice more, in any order, even after the end of its run or during the next attempt."""
    echo = Echo(service, chaos.rng)
    async with Load(service, chaos.rng) as load, echo:
        broken = await service.add(video(SIZES[1]).with_chunk(BROKEN_CHUNK, b"this is no film"))
        failing = await load.request(broken, SIZES[1])
        await load.publish(load.choose(chaos.of(full=24, short=4)))
        await echo.until_answered(load, [failing])
        mended = service.keys.chunk(service.tenant_id, broken, VERSION, BROKEN_CHUNK)
        await service.store.put(mended, video(SIZES[1]).chunks[BROKEN_CHUNK])
        await service.settle()  # a request that came before the failure is noted would be answered by it
        await load.request(broken, SIZES[1])
        await echo.until_answered(load, load.submitted)
        await echo.all_again()
        evidence = await service.verify_at_rest()
    assert evidence.outcomes[str(failing.published.request_id)].name == "inference.failed"
    completed = [item for item in load.submitted if item is not failing]
    check_results(evidence, completed, undisturbed)
    assert evidence.outcomes[str(completed[-1].published.request_id)].body["attempt"] == 2
    history = History(service.ledger)
    history.read()
    rework = history.check_rework(fleet.disturbances)
    report.note(videos=len(completed), records_again=echo.sent, **rework.figures())


@dataclass(slots=True)
class Echo:
    """Resends records of the runs' logs to their partitions."""

    service: Installation
    rng: random.Random
    sent: int = 0
    _read: int = 0
    _originals: list[ConsumerRecord] = field(default_factory=list)
    _late: list[ConsumerRecord] = field(default_factory=list)
    _producer: AIOKafkaProducer = field(init=False)

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(**client_options(self.service.kafka), acks="all")
        await self._producer.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._producer.stop()

    async def until_answered(self, load: Load, requests: Sequence[Submitted]) -> None:
        """Send each record twice more, at once or later, until these requests have their outcome."""
        deadline = Deadline(WAIT_SECONDS)
        while waiting := set(requests).intersection(load.unanswered()):
            assert not deadline.passed, f"waited without success for outcomes of {waiting}"
            await self.service.ledger.read_on(0.2)
            self._late += 2 * self._fresh()
            self.rng.shuffle(self._late)
            at_once = self.rng.randint(0, len(self._late))
            await self._send(self._late[:at_once])
            del self._late[:at_once]

    async def all_again(self) -> None:
        """Send what is left, and then everything again, in any order."""
        await self.service.ledger.read_all()
        self._fresh()
        await self._send(self.rng.sample(self._late, len(self._late)))
        await self._send(self.rng.sample(self._originals, len(self._originals)))

    def _fresh(self) -> list[ConsumerRecord]:
        """Return the records read since the last call, except our own."""
        records = self.service.ledger.records["inference.results"][self._read :]
        self._read += len(records)
        fresh = [record for record in records if ECHO not in dict(record.headers)]
        self._originals += fresh
        return fresh

    async def _send(self, records: Sequence[ConsumerRecord]) -> None:
        for record in records:
            headers = [*record.headers, (ECHO, b"")]
            await self._producer.send(record.topic, record.value, key=record.key, partition=record.partition, headers=headers)
        await self._producer.flush()
        self.sent += len(records)


async def add_event(service: Installation, frame_count: int) -> VideoEncoded:
    """An event of a new video."""
    return VideoEncoded(
        tenant_id=service.tenant_id,
        video_id=await service.add(video(frame_count)),
        cropped_frames_version=VERSION,
        frame_count=frame_count,
        event_id=str(uuid4()),
    )


async def send_all(service: Installation, events: Sequence[VideoEncoded]) -> None:
    async with AIOKafkaProducer(**client_options(service.kafka), acks="all") as producer:
        for event in events:
            await producer.send(service.topics.encoded, event.to_bytes(), key=str(event.video_id).encode())
        await producer.flush()
