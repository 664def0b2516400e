"""High priority overtakes a long low-priority queue: each worker begins at most one low-priority span before the first high one."""

import asyncio
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

import psycopg
import pytest
from aiokafka import AIOKafkaProducer

from core.frames import plan_chunks, span_count
from core.identity import run_id
from core.types import Priority
from devstack.stack import OwnedStack
from inference.models.builtin import builtin_model_version
from storage.layout_writer import pack_layout
from streams.kafka.client import Published
from streams.kafka.connection import client_options
from streams.records import Cancelled, RunCancelled, SpanDone, decode_log
from tests.chaos.figures import Report
from tests.chaos.scale import Chaos
from tests.service.faults import Fault
from tests.service.installation import Installation
from tests.service.videos import LAYOUT, VERSION, Video, chunk, video

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

SLOW: Final = Fault("inference.architectures.siamese_strip:SiameseStripPredictor.predict", "before", how="pause")
"""A span takes seconds on any machine, far longer than it takes to fetch and decode it."""

WORKERS: Final = 2
LOW_FRAMES: Final = 32 * 512 + 1
HIGH_FRAMES: Final = 2
QUEUED: Final = 8000
"""Low-priority spans: hours of work, and more than two workers can queue before their partitions are paused."""


UNFINISHED: Final = """
select count(*) from {schema}.caption_frame_extents_inference_jobs where priority = 'low' and status in ('queued', 'running')
"""


@pytest.fixture(scope="module")
def settings(platform: OwnedStack) -> dict[str, str]:
    """One low-priority job at a time, in addition to those left by other tests, so that requests also wait for admission."""
    with psycopg.connect(platform.dsn) as connection:
        row = connection.execute(UNFINISHED.format(schema=platform.env["SUPABASE_SCHEMA"])).fetchone()
    assert row is not None
    return {"EXTENTS_LOW_JOBS_LIMIT": str(row[0] + 1)}


@dataclass(frozen=True, slots=True)
class Computed:
    """A span on a device; seconds since 1970 by the worker's clock, which is the brokers' too."""

    run_id: UUID
    span: int
    worker: str
    began: float
    ended: float


async def test_high_over_low(service: Installation, chaos: Chaos, report: Report) -> None:
    """High-priority videos at random moments start within one span of GPU time on every worker; low-priority ones continue after them."""
    service.processes.start("coordinator")
    workers = [service.processes.start("gpu", SLOW) for _ in range(WORKERS)]
    await asyncio.gather(*(worker.ready() for worker in workers))
    await service.ledger.until_members("gpu-worker", WORKERS)
    low = await _queue_low(service)
    waiting = [await service.submit(await service.add(video(2)), 2, priority=Priority.LOW) for _ in range(2)]

    moments = list[list[Published]]()
    for _ in range(chaos.of(full=7, short=2)):
        videos = await _a_video_for_each_partition(service)
        await service.ledger.until("low spans on every worker", lambda: _low_again(service, low))
        span_seconds = _seconds(span for span in _computed(service) if span.run_id == low)
        await asyncio.sleep(chaos.rng.uniform(0, span_seconds))  # the moment at which somebody asks
        moments.append(await asyncio.gather(*(service.submit(video_id, HIGH_FRAMES) for video_id in videos)))
        for request in moments[-1]:
            assert (await service.ledger.outcome(request)).name == "inference.completed"
    await service.ledger.until("low spans after the high ones", lambda: _low_again(service, low))

    await _cancel(service, low)
    evidence = await service.verify_at_rest()
    assert {evidence.outcomes[str(request.request_id)].name for request in waiting} == {"inference.completed"}
    ended = _outcome_at(service, low)
    assert all(_first(service, _run_of(service, request), b"run_started") > ended for request in waiting), "two low-priority jobs at a time"
    _measure(service, report, low, moments)


async def _queue_low(service: Installation) -> UUID:
    """Start a low-priority run of many spans, and send them all repeatedly. Return its id."""
    await service.submit(await service.add(_long(LOW_FRAMES)), LOW_FRAMES, priority=Priority.LOW)
    spans = span_count(LOW_FRAMES)
    work = service.ledger.records["inference.work.low"]
    await service.ledger.until("the low run's spans", lambda: len(work) == spans)
    async with AIOKafkaProducer(**client_options(service.kafka), acks="all") as producer:
        for _ in range(QUEUED // spans):
            for record in work[:spans]:
                await producer.send(service.topics.work_low, record.value, key=record.key, partition=record.partition)
    return UUID(work[0].key.decode().partition(":")[0])


def _long(frame_count: int) -> Video:
    """A video whose chunks are all alike."""
    chunks = plan_chunks(frame_count)
    encoded = {count: chunk(count) for count in {len(span.frames) for span in chunks}}
    return Video(frame_count, {span.name: encoded[len(span.frames)] for span in chunks}, pack_layout(LAYOUT))


def _computed(service: Installation) -> list[Computed]:
    """All finished spans in the order of their beginning."""
    log = (decode_log(record.value) for record in service.ledger.records["inference.results"])
    done = ((entry, entry.done_at.timestamp()) for entry in log if isinstance(entry, SpanDone))
    spans = [Computed(entry.run_id, entry.span, entry.worker, ended - entry.gpu_seconds, ended) for entry, ended in done]
    return sorted(spans, key=lambda span: span.began)


def _low_again(service: Installation, low: UUID) -> bool:
    """Whether every worker has done a low-priority span since the last high-priority one of any worker."""
    computed = _computed(service)
    last = max((span.began for span in computed if span.run_id != low), default=0.0)
    return len({span.worker for span in computed if span.run_id == low and span.began > last}) == WORKERS


async def _a_video_for_each_partition(service: Installation) -> list[UUID]:
    """New videos of one span, chosen so that every partition, and so every worker, has work."""
    partitions, spans = service.topics.settings.work_partitions, dict[int, UUID]()
    while len(spans) < partitions:
        video_id = uuid4()
        run = run_id(service.tenant_id, video_id, VERSION, builtin_model_version())
        spans[run.int % partitions] = video_id  # where admission begins to send a run's spans
    for video_id in spans.values():
        await video(HIGH_FRAMES).upload(service.store, service.keys, service.tenant_id, video_id)
    return list(spans.values())


async def _cancel(service: Installation, run_id: UUID) -> None:
    """Stop computing spans of a run, whether it has an outcome or not."""
    key, reason, topics = str(run_id).encode(), "enough of it", service.topics
    ended = RunCancelled(run_id=run_id, attempt=1, reason=reason, cancelled_at=datetime.now(UTC))
    cancelled = Cancelled(run_id=run_id, attempt=1, reason=reason)
    async with AIOKafkaProducer(**client_options(service.kafka), acks="all") as producer:
        await producer.send_and_wait(topics.results, ended.to_bytes(), key=key, partition=topics.results_partition(str(run_id)))
        await producer.send_and_wait(topics.cancelled, cancelled.to_bytes(), key=key)


def _measure(service: Installation, report: Report, low: UUID, moments: list[list[Published]]) -> None:
    """Check the order on every worker, and record how long each took to begin with simultaneous requests."""
    computed = _computed(service)
    span_seconds = _seconds(span for span in computed if span.run_id == low)
    sent = {record.key.decode(): record.timestamp / 1000 for record in service.ledger.records["inference.work.high"]}
    published_at = {(record.partition, record.offset): record.timestamp / 1000 for record in service.ledger.records["video.encoded"]}
    until_taken, until_computed, passed_by = list[float](), list[float](), list[int]()
    for requests in moments:
        published = {_run_of(service, request): published_at[request.partition, request.offset] for request in requests}
        until_taken += [_first(service, run, b"span_taken") - at for run, at in published.items()]
        firsts = dict[str, Computed]()
        for span in computed:
            if span.run_id in published:
                firsts.setdefault(span.worker, span)
        assert len(firsts) == WORKERS
        for first in firsts.values():
            admitted = sent[f"{first.run_id}:{first.span}"]
            before = [
                span for span in computed if span.worker == first.worker and span.run_id == low and admitted < span.began < first.began
            ]
            assert len(before) <= 1, f"{first} was sent at {admitted}; before it {before}"
            passed_by.append(len(before))
            until_computed.append(first.began - published[first.run_id])
    report.note(
        low_spans_queued=len(service.ledger.records["inference.work.low"]),
        moments=len(moments),
        low_span_seconds=round(span_seconds, 2),
        low_spans_begun_before=f"{sum(passed_by)} in {len(passed_by)}",
        seconds_until_taken=_spread(until_taken),
        seconds_until_each_worker_computes=_spread(until_computed),
        longest_wait_in_spans=round(max(until_computed) / span_seconds, 2),
    )


def _run_of(service: Installation, request: Published) -> UUID:
    outcome = next(outcome for outcome in service.ledger.outcomes if outcome.answers(request.request_id))
    return UUID(outcome.body["run_id"])


def _outcome_at(service: Installation, run: UUID) -> float:
    """When the run ended according to its log, in seconds since 1970."""
    headers = next(outcome.headers for outcome in service.ledger.outcomes if outcome.body.get("run_id") == str(run))
    return datetime.fromisoformat(headers["ce_time"]).timestamp()


def _first(service: Installation, run: UUID, kind: bytes) -> float:
    """When the first record of a kind was sent to the run's log, in seconds since 1970."""
    records = service.ledger.records["inference.results"]
    return next(record.timestamp / 1000 for record in records if record.key == str(run).encode() and kind in record.value)


def _spread(seconds: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(seconds), 2), "longest": round(max(seconds), 2)}


def _seconds(computed: Iterable[Computed]) -> float:
    return statistics.median(span.ended - span.began for span in computed)
