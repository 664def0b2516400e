"""Runs the service for measuring: an embedded stack with a coordinator and one GPU worker at a time."""

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from benchmarks.cores import pin
from cli.developing.dev import create_topics
from core.settings import ProcessSettings, Settings, WorkerSettings, variable
from core.types import Layout
from devstack.paths import STACKS, make_folder
from devstack.stack import OwnedStack, owned
from devstack.workers import Role, worker
from storage.connect import object_keys, open_store
from storage.keys import Keys
from storage.layout_writer import pack_layout
from storage.model_store import ModelManifest, ModelStore
from storage.objects import ObjectStore
from streams.kafka.client import OutcomeReader, publish
from streams.kafka.connection import client_options
from streams.records import LogRecord, SpanDone, SpanTaken, VideoEncoded, decode_log
from streams.topics import Topics

RUN_SECONDS: Final = 180.0
"""A run takes about ten seconds. A run that hangs must not block the other benchmarks."""


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """Chunks by name, as stored for each run."""

    frame_count: int
    chunks: Mapping[str, bytes]
    layout: Layout


@dataclass(frozen=True, slots=True)
class RunTimes:
    """Duration of a run, in seconds.

    Attributes:
        working: from its first ``span_taken`` to its last ``span_done``, by the brokers' timestamps of the records.
        whole: from publishing ``video.encoded`` until ``inference.completed`` is read.
    """

    working: float
    whole: float


@contextmanager
def throwaway_stack() -> Iterator[OwnedStack]:
    """Start a stack for this block, in the working directory. The settings of this process become the stack's and the defaults."""
    make_folder(STACKS)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=STACKS))
    with owned(folder, throwaway=True, progress=_say) as stack, chdir(stack.folder):
        kept = dict(os.environ)
        for section in Settings.SECTIONS:
            for field in section.model_fields:
                os.environ.pop(variable(section, field), None)
        os.environ.update(
            {
                **stack.env,
                variable(ProcessSettings, "log_format"): "text",
                variable(WorkerSettings, "model_cache"): str(stack.folder / "models"),
            }
        )
        try:
            create_topics(stack)
            yield stack
        finally:
            os.environ.clear()
            os.environ.update(kept)


class Service:
    """The running service, seen from outside. Enter ``process`` for a coordinator and a worker before ``run``."""

    def __init__(self, folder: Path, settings: Settings, store: ObjectStore, keys: Keys, outcomes: OutcomeReader) -> None:
        self._folder, self._settings = folder, settings
        self._store, self._keys, self._outcomes = store, keys, outcomes
        self._topics = Topics(settings.topics)

    async def push_model(self, version: str, data: bytes, sha256: str, architecture_name: str) -> None:
        manifest = ModelManifest(version, "weights.pt", sha256, len(data), architecture_name)
        await ModelStore(self._store, self._keys).push(manifest, data)

    @asynccontextmanager
    async def process(self, role: Role, name: str, cores: frozenset[int]) -> AsyncIterator[int]:
        """Start a process on these cores, wait until it is ready, and yield its process id."""
        part = worker(role, name, self._folder, {"OMP_NUM_THREADS": str(len(cores))})
        try:
            _say(f"{name} ready after {await part.start():.0f} s")
            assert part.process is not None
            pin(part.process.pid, cores)
            yield part.process.pid
        finally:
            await part.stop()

    async def run(self, video: StoredVideo, model_version: str) -> RunTimes:
        """Store the video as a new one, and request a run of it.

        Raises:
            RuntimeError: the outcome is not ``inference.completed``.
            TimeoutError: there is no outcome within ``RUN_SECONDS``.
        """
        tenant, video_id = uuid4(), uuid4()
        await self._store.put(self._keys.layout(tenant, video_id), pack_layout(video.layout))
        puts = (self._store.put(self._keys.chunk(tenant, video_id, 1, name), data) for name, data in video.chunks.items())
        await asyncio.gather(*puts)
        event = VideoEncoded(
            tenant_id=tenant, video_id=video_id, cropped_frames_version=1, frame_count=video.frame_count, model_version=model_version
        )
        began = time.perf_counter()
        published = await publish(self._settings.kafka, self._topics, event)
        outcome = await asyncio.wait_for(self._outcomes.wait_for(published.request_id), RUN_SECONDS)
        whole = time.perf_counter() - began
        if outcome.name != "inference.completed":
            raise RuntimeError(f"{outcome.name}: {outcome.body}")
        return RunTimes(await self._working_seconds(str(outcome.body["run_id"])), whole)

    async def _working_seconds(self, run_id: str) -> float:
        taken, done = list[float](), list[float]()
        for record, entry in await self._log():
            if str(entry.run_id) == run_id and isinstance(entry, SpanTaken | SpanDone):
                (taken if isinstance(entry, SpanTaken) else done).append(record.timestamp / 1000)
        return max(done) - min(taken)

    async def _log(self) -> list[tuple[ConsumerRecord, LogRecord]]:
        """Read the results topic up to its current end."""
        consumer = AIOKafkaConsumer(
            self._topics.results, **client_options(self._settings.kafka), auto_offset_reset="earliest", enable_auto_commit=False
        )
        entries: list[tuple[ConsumerRecord, LogRecord]] = []
        async with consumer:
            ends = await consumer.end_offsets(consumer.assignment())
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    entries += [(record, decode_log(record.value)) for record in records]
        return entries


@asynccontextmanager
async def open_service(stack: OwnedStack) -> AsyncIterator[Service]:
    """Yield a service on a ``throwaway_stack``, without any process yet."""
    settings = Settings()
    async with open_store(settings.wasabi) as store, OutcomeReader(settings.kafka, Topics(settings.topics)) as outcomes:
        yield Service(stack.folder, settings, store, object_keys(settings.keys), outcomes)


def peak_memory_mib(pid: int) -> int:
    """Peak resident memory of a running process, from Linux's own count."""
    match = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError(f"process {pid}: no VmHWM in its status")
    return round(int(match.group(1)) / 1024)


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
