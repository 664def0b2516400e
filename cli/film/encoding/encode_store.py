"""Writes an encoded film into the object store. A version is written completely or not at all."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import UUID

import stamina

from cli.film.encoding.encode_folder import FolderSink, Target, check_same_crop
from cli.shared.output import Report, remark
from core.errors import MissingObjectError, PermanentError, TransientError
from core.frames import plan_chunks
from core.settings import Settings
from core.types import Anchor
from inference.media.box import CropBox
from inference.media.encode import encode_film
from storage.connect import object_keys, open_store
from storage.keys import Keys
from storage.layout_writer import pack_layout
from storage.layouts import fetch_layout
from storage.objects import ObjectStore

_PUTS_AT_A_TIME: Final = 16
"""Hides the store's latency; more would only queue for the uplink."""

_PUT_ATTEMPTS: Final = 5
_PUT_LIMIT_SECONDS: Final = 60.0


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
        sink = FolderSink(Path(folder))
        encoded = encode_film(video, crop, anchor, sink, report, remark)
        names = [chunk.name for chunk in plan_chunks(encoded.frame_count)]
        asyncio.run(stored_version.send(Path(folder), names, None if layout_key else pack_layout(encoded.layout)))
    layout_key = layout_key or stored_version.layout_key
    return Target(
        stored_version.address(stored_version.prefix), stored_version.address(layout_key), encoded.frame_count, sink.chunks, sink.size_bytes
    )


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
        check_same_crop(stored.layout, crop, anchor, self.address(stored.key))
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
