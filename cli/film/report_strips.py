"""Strips either side of a boundary, from a folder or the store. Only the chunks that hold them are read."""

import asyncio
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

from PIL import Image

from cli.film.local_video import open_folder
from cli.film.report_run import OpenedRun
from cli.shared.output import Report
from core.errors import CorruptInputError, MissingObjectError
from core.frames import MAX_CHUNK_BYTES, Chunk, plan_chunks
from core.identity import LOCAL_TENANT
from core.settings import Settings
from inference.arrays import Frames
from inference.media.decode import decode_frames
from pages.report.payload import Filmstrip
from storage.connect import object_keys, open_store

FRAMES_EITHER_SIDE: Final = 2
"""One frame each side shows the change; the second shows whether it lasts."""

MAX_SIZE: Final = (840, 96)
"""Of an embedded strip, in pixels: as wide as it is shown."""

JPEG_QUALITY: Final = 80

_FETCHES_AT_A_TIME: Final = 8

FetchChunks = Callable[[Sequence[Chunk]], dict[str, bytes]]


def read_filmstrips(opened: OpenedRun, folder: Path | None, pairs: Sequence[int], report: Report) -> list[Filmstrip]:
    """Strips around each pair, in the order given.

    Args:
        folder: of the video; None takes the folder that the run database lies in, where it has frames, or else the store.

    Raises:
        MissingObjectError: the frames are not there, or the run does not say whose they are.
        CorruptInputError: a chunk cannot be decoded, or the frames are another video's.
    """
    frame_count = opened.run.pairs + 1
    folder = folder or _beside(opened.path)
    fetch = _from_folder(opened, folder) if folder else _from_store(opened)
    ranges = {pair: range(max(0, pair + 1 - FRAMES_EITHER_SIDE), min(frame_count, pair + 1 + FRAMES_EITHER_SIDE)) for pair in pairs}
    wanted = {frame for frames in ranges.values() for frame in frames}
    chunks = [chunk for chunk in plan_chunks(frame_count) if not wanted.isdisjoint(chunk.frames)]
    data = fetch(chunks)
    images: dict[int, bytes] = {}
    for done, chunk in enumerate(chunks):
        report(done, len(chunks))
        images.update(_decode(chunk, data[chunk.name], wanted))
    return [Filmstrip(pair, frames.start, [images[frame] for frame in frames]) for pair, frames in ranges.items()]


def _decode(chunk: Chunk, data: bytes, wanted: Iterable[int]) -> dict[int, bytes]:
    places = {place: frame for place, frame in enumerate(chunk.frames) if frame in wanted}
    decoded = decode_frames(chunk.name, data, len(chunk.frames), needed=max(places) + 1)
    return {places[place]: _jpeg(image) for place, image in enumerate(decoded) if place in places}


def _jpeg(pixels: Frames) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail(MAX_SIZE, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()


def _beside(path: Path | None) -> Path | None:
    """``extents predict`` writes FOLDER/caption_frame_extents/….db."""
    if path is None:
        return None
    places = (path.resolve().parent, path.resolve().parent.parent)
    return next((place for place in places if any(place.glob("cropped_frames_v*"))), None)


def _from_folder(opened: OpenedRun, folder: Path) -> FetchChunks:
    video = open_folder(folder, opened.run.cropped_frames_version)
    expected = opened.run.provenance.get("layout_sha256")
    if video.frame_count != opened.run.pairs + 1 or (expected is not None and video.layout_sha256 != expected):
        raise CorruptInputError(
            f"{folder} holds another video than the run is of: {video.frame_count} frames, the run has {opened.run.pairs + 1}"
        )
    return lambda chunks: {chunk.name: video.read_chunk(chunk.name) for chunk in chunks}


def _from_store(opened: OpenedRun) -> FetchChunks:
    ids = [opened.run.provenance.get(name) for name in ("tenant_id", "video_id")]
    version = opened.run.cropped_frames_version
    if None in ids or version is None:
        raise MissingObjectError("the run database does not say whose video it is of")
    tenant_id, video_id = (UUID(text) for text in ids)
    if tenant_id == LOCAL_TENANT:
        raise MissingObjectError("the run is of a local folder that is not beside its database any more")
    settings = Settings()
    keys, slots = object_keys(settings.keys), asyncio.Semaphore(_FETCHES_AT_A_TIME)

    async def fetch(chunks: Sequence[Chunk]) -> dict[str, bytes]:
        async with open_store(settings.wasabi) as store, asyncio.TaskGroup() as group:

            async def get(chunk: Chunk) -> bytes:
                async with slots:
                    return await store.get(keys.chunk(tenant_id, video_id, version, chunk.name), MAX_CHUNK_BYTES)

            tasks = {chunk.name: group.create_task(get(chunk)) for chunk in chunks}
        return {name: task.result() for name, task in tasks.items()}

    def fetch_all(chunks: Sequence[Chunk]) -> dict[str, bytes]:
        try:
            return asyncio.run(fetch(chunks))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    return fetch_all
