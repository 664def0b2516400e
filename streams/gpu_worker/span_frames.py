"""Turns a work record into the span's frames: fetches its chunks concurrently and decodes each in a thread, within the byte limit."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar
from uuid import UUID

from core.errors import CorruptInputError
from core.frames import MAX_CHUNK_BYTES, Chunk, plan_span
from core.metrics import DECODED_BYTES, FETCHED_BYTES
from core.settings import WorkerSettings, variable
from core.types import Layout
from inference.engine.memory import memory_for
from inference.engine.predictor import Frames
from inference.media.span import SpanAssembly
from storage.keys import Keys
from storage.layouts import fetch_layout
from storage.objects import ObjectStore
from streams.gpu_worker.span_slots import Slot
from streams.gpu_worker.stages import stage
from streams.records import Work
from streams.runtime.assignment import Assignment
from streams.runtime.circuit_breaker import CircuitBreaker
from streams.runtime.concurrently import concurrently
from streams.runtime.health import Health

T = TypeVar("T")

LAYOUTS_KEPT = 16
"""Number of videos whose layouts are cached, since the spans of a video arrive in sequence."""

LAYOUT_BYTES_KEPT = 64_000_000
"""Limit for the total size of the cached layouts' images; an image takes one or two megabytes."""


class SpanFrames:
    """Loads the frames of spans into memory. Calls may overlap.

    Every method raises TransientError for errors that may go away and PermanentError for those that will not.
    """

    def __init__(self, store: ObjectStore, keys: Keys, store_breaker: CircuitBreaker, health: Health, settings: WorkerSettings) -> None:
        self._store, self._keys, self._store_breaker, self._health, self._settings = store, keys, store_breaker, health, settings
        self._pool = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self._fetching = asyncio.Semaphore(settings.fetch_concurrency)
        self._layouts: dict[tuple[UUID, str], Layout] = {}

    async def layout(self, work: Work, assignment: Assignment) -> Layout:
        """Return the video's layout as it was when the run was admitted.

        Raises:
            CorruptInputError: the layout has changed, so the spans of the run would be inconsistent.
        """
        name = (work.video_id, work.layout_sha256)
        if name not in self._layouts:
            stored = await self._fetch(assignment, "layout", lambda: fetch_layout(self._store, self._keys, work.tenant_id, work.video_id))
            if stored.sha256 != work.layout_sha256:
                raise CorruptInputError(
                    f"{stored.key} has SHA-256 {stored.sha256}, but the run was admitted with {work.layout_sha256}; submit the video again"
                )
            self._layouts[name] = stored.layout
            while len(self._layouts) > LAYOUTS_KEPT or sum(len(layout.ocr_image) for layout in self._layouts.values()) > LAYOUT_BYTES_KEPT:
                del self._layouts[next(iter(self._layouts))]
            return stored.layout
        return self._layouts[name]

    async def fetch(self, work: Work, slot: Slot, assignment: Assignment) -> dict[Chunk, bytes]:
        """Return the bytes of the span's chunks. The slot counts them as they arrive."""
        chunks = SpanAssembly(plan_span(work.span, work.frame_count), work.frame_count).chunks
        keys = {chunk: self._keys.chunk(work.tenant_id, work.video_id, work.cropped_frames_version, chunk.name) for chunk in chunks}

        async def get(key: str) -> bytes:
            async with self._fetching:
                data = await self._fetch(assignment, key, lambda: self._store.get(key, MAX_CHUNK_BYTES))
                slot.count_fetched(len(data))
                FETCHED_BYTES.inc(len(data))
                return data

        with stage("fetch", work) as fetching:
            fetched = await concurrently(get(key) for key in keys.values())
            fetching.note(objects=len(keys), size_bytes=sum(map(len, fetched)))
        return dict(zip(keys, fetched, strict=True))

    async def decode(self, work: Work, chunks: dict[Chunk, bytes], slot: Slot, assignment: Assignment) -> Frames:
        """Return the span's frames. Their size follows from the first chunk; decoding waits until that many bytes are free."""
        assembly = SpanAssembly(plan_span(work.span, work.frame_count), work.frame_count)
        first = assembly.chunks[0]
        with stage("decode", work) as decoding:
            size_bytes = await self._step(work, first, lambda: assembly.measure(chunks[first]))
            decoding.note(size_bytes=size_bytes)
            await slot.reserve_frames(size_bytes, assignment)
            await _all(*(self._step(work, chunk, partial(assembly.decode, chunk, chunks[chunk])) for chunk in assembly.chunks))
        DECODED_BYTES.inc(size_bytes)
        return assembly.frames()

    async def _step(self, work: Work, chunk: Chunk, action: Callable[[], T]) -> T:
        """Run an action on a chunk in one of the decoding threads."""

        def step() -> T:
            detail = f"{work.run_id}:{work.span} {chunk.name}"
            setting = variable(WorkerSettings, "decode_limit_seconds")
            with (
                self._health.step("decode", self._settings.decode_limit_seconds, detail, fatal=True, setting=setting),
                memory_for(detail),
            ):
                return action()

        return await asyncio.get_running_loop().run_in_executor(self._pool, step)

    async def _fetch(self, assignment: Assignment, detail: str, action: Callable[[], Awaitable[T]]) -> T:
        async def step() -> T:
            setting = variable(WorkerSettings, "fetch_limit_seconds")
            with self._health.step("fetch", self._settings.fetch_limit_seconds, detail, setting=setting):
                return await action()

        return await self._store_breaker.call(assignment, step, limit_seconds=self._settings.retry_in_place_seconds)


async def _all(*coroutines: Awaitable[None]) -> None:
    """Wait for all even if one fails, since a decoding thread cannot be stopped. Raises the first error."""
    for result in await asyncio.gather(*coroutines, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
