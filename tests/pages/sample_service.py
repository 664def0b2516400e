"""The live page over made-up data, served from a thread."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from aiohttp import web

from core.errors import TransientError
from core.history import HistoryEntry, RunLog, SpanHistory
from core.settings import AdmissionSettings
from core.workers import SeenWorker
from pages.live.brokers import Letter, WorkerGroup
from pages.live.site import Access, Site
from tests.pages.runs import run_bytes
from tests.pages.sample_rows import PAIRS, RUN, SampleRows, name

VIEWER, OPERATOR = "a-viewers-token", "an-operators-token"


class SampleStore:
    async def get(self, key: str, limit: int) -> bytes:
        return run_bytes(PAIRS)

    async def head(self, key: str) -> SimpleNamespace:
        return SimpleNamespace(size_bytes=394_240)


@dataclass
class SampleBrokers:
    state: str

    async def groups(self) -> list[WorkerGroup]:
        if self.state == "error":
            raise TransientError("brokers at kafka.example:9092 (SASL_SSL): KafkaConnectionError; check the KAFKA_* settings")
        if self.state == "empty":
            return []
        coordinator = WorkerGroup("extents-coordinator", "Stable", ("10.0.4.11", "10.0.4.12"), {"video.encoded": 0, "inference.results": 3})
        lag = {"inference.work.high": 41, "inference.work.low": 108}
        return [coordinator, WorkerGroup("extents-gpu-worker", "Stable", ("10.0.7.3", "10.0.7.4", "10.0.7.9"), lag)]

    async def workers(self) -> list[SeenWorker]:
        if self.state != "busy":
            return []
        now = datetime.now(UTC)
        values = [
            ("coordinator", "coordinator-0:1", (), None, None, 3, ("database",), 4),
            ("gpu-worker", "gpu-1:4311", ("mrn0fkfd",), 521.0, 0.94, 3, (), 2),
            ("gpu-worker", "gpu-2:4312", ("mrn0fkfd", "mrn0fkfd-2"), 498.0, 0.91, 2, (), 3),
            ("gpu-worker", "gpu-3:4080", ("mrn0fkfd",), 0.0, 0.0, 0, (), 200),
        ]
        return [
            SeenWorker(
                instance=name(worker),
                worker=worker,
                role=role,
                host=worker.partition(":")[0],
                version="0.1.0",
                started_at=now - timedelta(hours=5),
                last_beat_at=now - timedelta(seconds=silent),
                beat_seconds=10,
                stopping=False,
                faults=(),
                waits=waits,
                models=models,
                device="cuda:0 A10G" if models else None,
                pairs_per_second=rate,
                busy_share=busy,
                in_hand=in_hand,
            )
            for role, worker, models, rate, busy, in_hand, waits, silent in values
        ]

    async def letters(self) -> list[Letter]:
        if self.state != "busy":
            return []
        at = datetime.now(UTC) - timedelta(seconds=870)
        error = "CorruptInputError: modulo_1/chunk_0000000097.webm holds 31 frames; expected 32"
        return [
            Letter("0/16", "video.encoded", "undecodable", "not JSON: unexpected end of data, line 1 column 210", None, at),
            Letter("0/17", "inference.work.high", "span_failed", error, name("run 11"), at),
        ]

    async def run_log(self, run_id: str, since: datetime, until: datetime | None) -> RunLog:
        begin = datetime.now(UTC) - timedelta(seconds=339)
        entries = (
            HistoryEntry(begin, "run started", "attempt 1, for video.encoded/3/1207, high priority, model mrn0fkfd, float32"),
            HistoryEntry(begin + timedelta(seconds=8), "run joined", "attempt 1, for video.encoded/3/1209"),
            HistoryEntry(begin + timedelta(seconds=24), "run finished", "attempt 1, completed"),
        )
        spans = []
        for number in range(11):
            at = begin + timedelta(seconds=0.4 + number // 2 * 3.6 + number % 2 * 0.9)
            worker = f"gpu-{1 + number % 2}:{4311 + number % 2}"
            again = number == 4
            workers = ("gpu-1:4101", worker) if again else (worker,)
            ended = at + timedelta(seconds=3.4 + 0.2 * (number % 3) + 3 * again)
            error = "the store answered 503 four times" if again else None
            spans.append(SpanHistory(number, "done", 1 + again, workers, at, ended, 3.3, 1.0 + number % 3 / 10, "cuda:0 A10G", error))
        return RunLog(entries, tuple(spans))

    async def video_log(self, video: UUID, runs: object, since: datetime | None) -> list[HistoryEntry]:
        log = await self.run_log(RUN, datetime.now(UTC), None)
        return [HistoryEntry(entry.at, "log", f"2/{88_120 + place}: {entry.detail}") for place, entry in enumerate(log.entries)]


@contextmanager
def sample_site(state: str) -> Iterator[str]:
    """Serve the page in one of the states busy, empty and error. Yield its address."""
    loop = asyncio.new_event_loop()
    started: list[str] = []
    ready = threading.Event()

    async def serve() -> web.AppRunner:
        rows: Any = SampleRows(state)
        store: Any = SampleStore()
        brokers: Any = SampleBrokers(state)
        settings = AdmissionSettings(gpu_usd_per_hour=1.1, daily_budget_usd=50)
        site = Site(Access(VIEWER, OPERATOR), rows, store, brokers, settings, "/ui")
        app = web.Application()
        app.add_subapp("/ui", site.application())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port, *_ = runner.addresses[0]
        started.append(f"http://{host}:{port}/ui")
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(serve())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, name=f"site-{state}")
    thread.start()
    assert ready.wait(30)
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
