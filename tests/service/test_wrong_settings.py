"""A worker with a wrong setting blames no record and is not ready. It names the fault, and starts once the fault is corrected."""

import asyncio
import json
import time
from collections import Counter

import aiohttp
import pytest

from core.settings import KafkaSettings, TopicSettings
from streams.kafka.topic_admin import ensure_topics
from streams.topics import Topics
from tests.patience import Deadline
from tests.service.faults import Fault
from tests.service.installation import SETTINGS, Installation
from tests.service.processes import WAIT_SECONDS, Worker
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

WRONG_KEY = "eyJhbGciOiJIUzI1NiJ9.e30.wrong-s3cret"


async def unready(worker: Worker, reason: str) -> list[str]:
    """Wait until it reports that this is wrong, and return the reasons."""
    deadline = Deadline(WAIT_SECONDS)
    async with aiohttp.ClientSession() as http:
        while True:
            assert worker.status is None, f"it has ended with status {worker.status}"
            assert not deadline.passed, worker.log.read_text()[-2000:]
            try:
                status, body = await worker.fetch(http, "readyz")
                if reason in body:
                    assert status == 503
                    assert (await worker.fetch(http, "healthz"))[0] == 200
                    return json.loads(body)["reasons"]
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


def last_line(worker: Worker) -> dict[str, object]:
    return json.loads(worker.log.read_text().splitlines()[-1])


@pytest.mark.parametrize(
    ("role", "wrong", "says"),
    [
        ("coordinator", {"SUPABASE_SERVICE_ROLE_KEY": WRONG_KEY}, "check SUPABASE_SERVICE_ROLE_KEY"),
        ("coordinator", {"SUPABASE_SCHEMA": "no_such_schema"}, "check SUPABASE_SCHEMA"),
        ("coordinator", {"EXTENTS_MODEL_VERSION": "mrn0fkfd"}, "EXTENTS_MODEL_VERSION: model mrn0fkfd is not in the store"),
        ("gpu", {"WASABI_SECRET_KEY": "wrong-s3cret"}, "check WASABI_SECRET_KEY"),
        ("gpu", {"WASABI_BUCKET": "captionacc-none"}, "WASABI_BUCKET"),
        ("gpu", {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "check the KAFKA_* settings"),
    ],
)
async def test_it_is_not_ready_and_takes_no_work(service: Installation, role, wrong, says) -> None:
    """Readiness and log give each dependency's own error and the setting; the worker stays alive, and one SIGTERM ends it with status 0."""
    worker = service.processes.start(role, **wrong)
    reasons = await unready(worker, says)
    assert any("group: has not been joined yet" in reason for reason in reasons)
    began = time.monotonic()
    assert await worker.stopped() == 0
    assert time.monotonic() - began < 5
    log = worker.log.read_text()
    assert "prerequisite.missing" in log
    assert says in log
    assert "s3cret" not in log + str(reasons)


async def test_it_starts_when_what_it_needs_is_there(service: Installation) -> None:
    """A coordinator without topics names a missing one, and becomes ready by itself once they are created."""
    prefix = f"{service.topics.settings.topic_prefix}late."
    coordinator = service.processes.start("coordinator", EXTENTS_TOPIC_PREFIX=prefix)
    await unready(coordinator, f"topics are missing on {service.kafka.bootstrap_servers}, the first is {prefix}")
    sizes = {name.removeprefix("EXTENTS_").lower(): int(value) for name, value in SETTINGS.items() if name.endswith("_PARTITIONS")}
    kafka: KafkaSettings = service.kafka
    await ensure_topics(Topics(TopicSettings(topic_prefix=prefix, **sizes)).specs(), kafka)
    await coordinator.ready()
    assert await coordinator.stopped() == 0


async def test_the_last_line_is_the_cause(service: Installation) -> None:
    """The last line of a worker that ends by an error says why in words, after all output of libraries; the status is 1."""
    broken = service.processes.start("gpu", Fault("streams.apps.observability:_measure_lag", "before", how="raise"))
    coordinator = service.processes.start("coordinator")
    published = await service.submit(await service.add(video(2)), 2)
    assert await broken.ended() == 1
    line = last_line(broken)
    assert (line["event"], line["level"], line["status"]) == ("worker.failed", "critical", 1)
    assert str(line["cause"]).startswith("unexpected ")
    whole = service.processes.start("gpu")
    await whole.ready()
    assert (await service.ledger.outcome(published)).name == "inference.completed"
    assert [await worker.stopped() for worker in (whole, coordinator)] == [0, 0]


@pytest.mark.parametrize("away", ["silent", "refusing"])
async def test_a_stop_ends_within_twenty_seconds_whatever_is_away(service: Installation, stack, away) -> None:
    """SIGTERM ends both workers with status 0 within twenty seconds and with little output, whether brokers hang or are gone."""
    workers = [service.processes.start("coordinator"), service.processes.start("gpu")]
    await asyncio.gather(*(worker.ready() for worker in workers))
    lines_before = [len(worker.log.read_text().splitlines()) for worker in workers]
    broker = stack.broker(1)
    broker.freeze() if away == "silent" else broker.stop()
    try:
        await asyncio.sleep(3)
        began = time.monotonic()
        assert await asyncio.gather(*(worker.stopped() for worker in workers)) == [0, 0]
        assert time.monotonic() - began < 20
    finally:
        broker.thaw() if away == "silent" else broker.start()
    for worker, before in zip(workers, lines_before, strict=True):
        lines = worker.log.read_text().splitlines()[before:]
        assert len(lines) < 100, Counter(json.loads(line)["event"] for line in lines).most_common(5)
