"""Checks that all chunks of a video are in the store, with one listing for each level instead of a request for each chunk."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from core.frames import LEVELS, plan_chunks
from storage.keys import Keys
from storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class MissingChunks:
    """The chunks of a video that are missing.

    Attributes:
        first: name of the first missing chunk, in the order of ``core.frames.plan_chunks``.
        count: how many of the ``expected`` chunks are missing.
        version_exists: whether any chunk of this version exists; if not, the version itself is missing.
    """

    first: str
    count: int
    expected: int
    version_exists: bool


async def missing_chunks(
    store: ObjectStore, keys: Keys, tenant_id: UUID, video_id: UUID, version: int, frame_count: int
) -> MissingChunks | None:
    """Compare the store's listings with the chunk names implied by the frame count. None if all chunks exist.

    Chunks beyond the frame count are ignored.
    """

    async def present(level: int) -> set[str]:
        prefix = keys.chunk_prefix(tenant_id, video_id, version, f"modulo_{level}/")
        return {key async for key in store.list_keys(prefix)}

    present_keys = set().union(*await asyncio.gather(*(present(level) for level in LEVELS)))

    def compare() -> MissingChunks | None:
        planned = [chunk.name for chunk in plan_chunks(frame_count)]
        missing = [name for name in planned if keys.chunk(tenant_id, video_id, version, name) not in present_keys]
        return MissingChunks(missing[0], len(missing), len(planned), version_exists=bool(present_keys)) if missing else None

    return await asyncio.to_thread(compare)  # 6,250 names of 200,000 frames
