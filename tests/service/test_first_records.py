"""No record that waits in a topic while partitions move is skipped."""

import asyncio

import pytest
from aiokafka import AIOKafkaProducer

from streams.kafka.connection import client_options
from tests.service.faults import Fault
from tests.service.installation import Installation
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECORDS = 400

SLOW_SEEKS = Fault("faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.seek_to_committed", "after", how="pause")
"""Extends the time in which records may be fetched that Faust throws away when it resumes."""


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    # One at a time: what was fetched is still in the queue when Faust resumes.
    return {"EXTENTS_REQUEST_PARTITIONS": "8", "EXTENTS_ADMIT_CONCURRENCY": "1"}


async def test_no_record_is_skipped(service: Installation) -> None:
    """All requests published before the first worker joined, and before its successor joined, are answered."""

    async def publish() -> None:
        async with AIOKafkaProducer(**client_options(service.kafka), acks="all") as producer:
            for number in range(RECORDS):
                await producer.send(service.topics.encoded, b"no request", key=f"{number}".encode())

    await publish()
    first, gpu = service.processes.start("coordinator", SLOW_SEEKS), service.processes.start("gpu", SLOW_SEEKS)
    await service.run(video(2))  # so that the next one has something to recover, and fetches while it seeks
    await service.settle()
    assert await first.stopped() == 0
    await publish()
    second = service.processes.start("coordinator", SLOW_SEEKS)
    await service.verify_at_rest()
    assert await asyncio.gather(second.stopped(), gpu.stopped()) == [0, 0]
