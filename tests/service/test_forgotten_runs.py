"""Requests that are redelivered long after their run has ended and its log has expired."""

import aiohttp
import confluent_kafka.admin
import psycopg
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from psycopg import sql

from streams.kafka.connection import client_options
from streams.records import RunJoined
from tests.service.installation import Installation
from tests.service.processes import Worker
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_repeated_join_is_answered_by_its_job(service: Installation) -> None:
    """If the group's offsets and the run's marker have expired, the join is answered again, and no run waits for its start forever."""
    coordinator = service.processes.start("coordinator")
    video_id = await service.add(video(2))
    await service.submit(video_id, 2, event_id="first")
    await service.ledger.until("its work", lambda: service.ledger.records["inference.work.high"])
    second = await service.submit(video_id, 2, event_id="second")
    run_id = service.ledger.records["inference.work.high"][0].key.decode().partition(":")[0]
    await service.ledger.until("the join", lambda: joins(service, run_id))
    gpu = service.processes.start("gpu")
    before = await service.ledger.outcome(second)
    await service.verify_at_rest()
    for worker in (coordinator, gpu):
        assert await worker.stopped() == 0

    await forget(service, run_id)
    coordinator = service.processes.start("coordinator")
    await service.ledger.until("the outcome again", lambda: len(answers(service, str(second.request_id))) == 2)
    await service.ledger.read_on(2)
    again = answers(service, str(second.request_id))[1]
    assert again["deduplicated"] is True
    assert {name: again[name] for name in ("run_id", "storage_key", "sha256")} == {
        name: before.body[name] for name in ("run_id", "storage_key", "sha256")
    }
    assert len(joins(service, run_id)) == 1
    assert await active_runs(coordinator) == 0
    assert await coordinator.stopped() == 0


def joins(service: Installation, run_id: str) -> list[RunJoined]:
    return [record for record in service.ledger.log(run_id) if isinstance(record, RunJoined)]


def answers(service: Installation, request_id: str) -> list[dict]:
    """The bodies of all outcomes of a request."""
    return [
        outcome.body for outcome in service.ledger.outcomes if request_id in [source["request_id"] for source in outcome.body["requests"]]
    ]


async def forget(service: Installation, run_id: str) -> None:
    """Produce the effect of three weeks: the log expires, the marker is swept, the offsets are gone, and the job ended long ago."""
    topics, key = service.topics, run_id.encode()
    partition = topics.results_partition(run_id)
    async with AIOKafkaProducer(**client_options(service.kafka), acks="all") as producer:
        end = (await producer.send_and_wait(topics.results, b"the last record of the old log", partition=partition)).offset + 1
        await producer.send_and_wait(topics.runs_changelog, None, key=key, partition=partition)
    admin = AIOKafkaAdminClient(**client_options(service.kafka))
    await admin.start()
    await admin.delete_records({TopicPartition(topics.results, partition): RecordsToDelete(before_offset=end)})
    await admin.close()
    groups = confluent_kafka.admin.AdminClient({"bootstrap.servers": ",".join(service.kafka.servers)})
    for deleted in groups.delete_consumer_groups([topics.group("coordinator")]).values():
        deleted.result(60)
    async with await psycopg.AsyncConnection.connect(service.verifier.dsn, autocommit=True) as connection:
        jobs = sql.Identifier(service.verifier.schema, "caption_frame_extents_inference_jobs")
        moved = sql.SQL("update {} set completed_at = completed_at - interval '21 days' where run_id = %s").format(jobs)
        await connection.execute(moved, [run_id])


async def active_runs(coordinator: Worker) -> float:
    """The coordinator's number of runs without an outcome."""
    async with aiohttp.ClientSession() as http:
        _, metrics = await coordinator.fetch(http, "metrics")
    (line,) = (line for line in metrics.splitlines() if line.startswith("extents_active_runs "))
    return float(line.split()[1])
