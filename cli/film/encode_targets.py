"""Where ``extents encode`` writes: a folder or the object store. A version is written completely or not at all."""

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import UUID

import stamina

from cli.shared.output import Report
from core.errors import MissingObjectError, PermanentError, TransientError
from core.frames import plan_chunks
from core.settings import Settings
from core.types import Anchor, Layout
from inference.media.encode import CropBox, encode_film
from storage.connect import object_keys, open_store
from storage.keys import Keys
from storage.layout_writer import pack_layout
from storage.layouts import fetch_layout, parse_layout
from storage.objects import ObjectStore

_PUTS_AT_A_TIME: Final = 16
"""Hides the store's latency; more would only queue for the uplink."""

_PUT_ATTEMPTS: Final = 5
_PUT_LIMIT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Target:
    """What was written and where. ``where`` and ``layout`` are a path or an object's address."""

    where: str
    layout: str
    frame_count: int
    chunks: int
    size_bytes: int


def encode_to_folder(video: Path, crop: CropBox, anchor: Anchor, folder: Path, version: int, report: Report) -> Target:
    """Write ``cropped_frames_v{version}`` and, unless it exists, ``layout.db`` into a folder.

    Raises:
        PermanentError: the version exists, the folder's layout has another crop, or the folder cannot be written.
    """
    final, layout_path = folder / f"cropped_frames_v{version}", folder / "layout.db"
    if final.exists():
        raise PermanentError(f"{final} exists already; choose another --version, or remove it")
    if layout_path.exists():
        _check_same_crop(parse_layout(layout_path.read_bytes(), str(layout_path)), crop, anchor, str(layout_path))
    partial = folder / f".{final.name}.partial"
    sink = _FolderSink(partial)
    try:
        shutil.rmtree(partial, ignore_errors=True)  # left by a killed command
        encoded = encode_film(video, crop, anchor, sink, report)
        if not layout_path.exists():
            layout_path.write_bytes(pack_layout(encoded.layout))
        partial.replace(final)
    except OSError as error:
        raise PermanentError(f"{folder}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Target(str(final), str(layout_path), encoded.frame_count, sink.chunks, sink.size_bytes)


def encode_to_store(
    video: Path, crop: CropBox, anchor: Anchor, settings: Settings, tenant_id: UUID, video_id: UUID, version: int, report: Report
) -> Target:
    """Write the chunks and, unless it exists, the layout under the keys from the settings.

    The film is encoded into a temporary folder first, so that an unreadable film leaves nothing in the store. If an upload
    fails, what was uploaded is deleted again.

    Raises:
        PermanentError: the version exists, or the video's layout has another crop.
        TransientError: the store was unavailable.
    """
    stored_version = _StoredVersion(open_store(settings.wasabi), object_keys(settings.keys), tenant_id, video_id, version)
    layout_key = asyncio.run(stored_version.check_free(crop, anchor))
    with TemporaryDirectory(prefix="extents-") as folder:
        sink = _FolderSink(Path(folder))
        encoded = encode_film(video, crop, anchor, sink, report)
        names = [chunk.name for chunk in plan_chunks(encoded.frame_count)]
        asyncio.run(stored_version.send(Path(folder), names, None if layout_key else pack_layout(encoded.layout)))
    layout_key = layout_key or stored_version.layout_key
    return Target(
        stored_version.address(stored_version.prefix), stored_version.address(layout_key), encoded.frame_count, sink.chunks, sink.size_bytes
    )


class _FolderSink:
    """Writes a file per chunk. The first chunk creates the folder, so that an unreadable film leaves none."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.chunks = 0
        self.size_bytes = 0

    def write(self, name: str, content: bytes) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.chunks += 1
        self.size_bytes += len(content)


class _StoredVersion:
    """A version of a video in the store."""

    def __init__(self, store: ObjectStore, keys: Keys, tenant_id: UUID, video_id: UUID, version: int) -> None:
        self._store, self._keys = store, keys
        self._ids = tenant_id, video_id, version
        self.prefix = keys.chunk_prefix(tenant_id, video_id, version, "")
        self.layout_key = keys.layout(tenant_id, video_id)

    def address(self, key: str) -> str:
        return f"s3://{self._store.bucket}/{key}"

    async def check_free(self, crop: CropBox, anchor: Anchor) -> str | None:
        """Check that the version does not exist. Returns the key of the video's layout if it has one."""
        tenant_id, video_id, _ = self._ids
        async with self._store:
            async for key in self._store.list_keys(self.prefix):
                raise PermanentError(f"{self.address(key)} exists already; choose another --version")
            try:
                stored = await fetch_layout(self._store, self._keys, tenant_id, video_id)
            except MissingObjectError:
                return None
        _check_same_crop(stored.layout, crop, anchor, self.address(stored.key))
        return stored.key

    async def send(self, folder: Path, names: Sequence[str], layout: bytes | None) -> None:
        sent: list[str] = []
        slots = asyncio.Semaphore(_PUTS_AT_A_TIME)

        async def put(key: str, content: bytes) -> None:
            sent.append(key)
            async for attempt in stamina.retry_context(on=TransientError, attempts=_PUT_ATTEMPTS, timeout=_PUT_LIMIT_SECONDS):
                with attempt:
                    await self._store.put(key, content)

        async def put_chunk(name: str) -> None:
            async with slots:
                await put(self._keys.chunk(*self._ids, name), (folder / name).read_bytes())

        async with self._store:
            try:
                async with asyncio.TaskGroup() as group:
                    for name in names:
                        group.create_task(put_chunk(name))
                if layout is not None:
                    await put(self.layout_key, layout)
            except BaseException as error:
                await asyncio.gather(*(self._store.delete(key) for key in sent), return_exceptions=True)
                if isinstance(error, BaseExceptionGroup):
                    raise error.exceptions[0] from error
                raise


def _check_same_crop(layout: Layout, crop: CropBox, anchor: Anchor, where: str) -> None:
    """All versions of a video share one layout, which runs of older versions still read."""
    stored_crop = CropBox(layout.crop_left, layout.crop_top, layout.crop_right, layout.crop_bottom)
    if (stored_crop, layout.anchor) != (crop, anchor):
        raise PermanentError(
            f"{where} exists with crop {stored_crop}, anchor {layout.anchor}, not crop {crop}, anchor {anchor}; "
            "encode another crop as a separate video"
        )
