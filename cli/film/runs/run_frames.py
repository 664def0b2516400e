"""Frames of a run's video, from a folder or the store. Only the chunks that hold them are read."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from cli.film.local_video import open_folder
from cli.film.runs.opened_run import OpenedRun
from cli.shared.output import Report
from core.errors import CorruptInputError, MissingObjectError
from core.frames import MAX_CHUNK_BYTES, Chunk, plan_chunks
from core.identity import LOCAL_TENANT
from core.settings import Settings
from inference.arrays import Frames
from inference.media.decode import decode_frames

NAME_FRAMES: Final = "--frames names the folder of the cropped frames"
"""Advice for a run whose frames are not where they are looked for."""

T = TypeVar("T")

_FETCHES_AT_A_TIME: Final = 8

FetchChunks = Callable[[Sequence[Chunk]], dict[str, bytes]]


def read_frames(
    opened: OpenedRun, folder: Path | None, wanted: Collection[int], keep: Callable[[Frames], T], report: Report
) -> dict[int, T]:
    """Apply ``keep`` to each of these frames, and return the results by frame index.

    Args:
        folder: of the video; None for the run database's own folder if it holds frames, otherwise the store.
        keep: called with RGB (height, width, 3) that is only valid until it returns.

    Raises:
        MissingObjectError: the frames do not exist, or the run does not name its video.
        CorruptInputError: a chunk cannot be decoded, or the frames belong to another video.
    """
    folder = folder or _beside(opened.path)
    fetch = _from_folder(opened, folder) if folder else _from_store(opened)
    frames = frozenset(wanted)
    chunks = [chunk for chunk in plan_chunks(opened.run.pairs + 1) if not frames.isdisjoint(chunk.frames)]
    data = fetch(chunks)
    kept: dict[int, T] = {}
    for done, chunk in enumerate(chunks):
        report(done, len(chunks))
        places = {place: frame for place, frame in enumerate(chunk.frames) if frame in frames}
        for place, picture in enumerate(decode_frames(chunk.name, data[chunk.name], len(chunk.frames), needed=max(places) + 1)):
            if place in places:
                kept[places[place]] = keep(picture)
    return kept


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
            f"{folder} holds another video: its frames ({video.frame_count}, the run has {opened.run.pairs + 1}) "
            "or its layout.db differ from the run's"
        )
    return lambda chunks: {chunk.name: video.read_chunk(chunk.name) for chunk in chunks}


def _from_store(opened: OpenedRun) -> FetchChunks:
    ids = [opened.run.provenance.get(name) for name in ("tenant_id", "video_id")]
    version = opened.run.cropped_frames_version
    if None in ids or version is None:
        raise MissingObjectError("the run database does not name its tenant, video and version of the frames")
    tenant_id, video_id = (UUID(text) for text in ids)
    if tenant_id == LOCAL_TENANT:
        raise MissingObjectError("the run's frames are in a local folder, and none was found beside the run database")
    # Imported here, so that a folder does not need the store's client.
    from storage.connect import object_keys, open_store

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
