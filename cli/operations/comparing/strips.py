"""The strips at the boundaries of captions that changed, from the store."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from uuid import UUID

from cli.shared.listing import Row
from core.frames import MAX_CHUNK_BYTES, plan_chunks
from pages.report.comparison import PLACES
from storage.keys import Keys
from storage.objects import ObjectStore


def boundary_frames(places: Sequence[Row], frame_count: int) -> set[int]:
    """Return the frames on both sides of each boundary of the listed captions."""
    frames = set()
    for place in places[:PLACES]:
        for caption in (place["before"], place["after"]):
            if caption is not None:
                frames |= {caption.first_frame - 1, caption.first_frame, caption.last_frame, caption.last_frame + 1}
    return {frame for frame in frames if 0 <= frame < frame_count}


async def fetch_strips(
    store: ObjectStore, keys: Keys, tenant_id: UUID, video_id: UUID, version: int, frame_count: int, frames: Collection[int]
) -> dict[int, bytes]:
    """Return PNGs of these frames, by index. Each chunk is fetched once.

    Raises:
        MissingObjectError: a chunk is no longer in the store.
    """
    from cli.shared.pictures import png  # loads Pillow
    from inference.media.decode import decode_frames  # loads PyAV

    by_chunk: dict[str, list[int]] = defaultdict(list)
    chunks = {chunk.name: list(chunk.frames) for chunk in plan_chunks(frame_count)}
    for name, held in chunks.items():
        by_chunk[name] = [frame for frame in held if frame in frames]
    pictures: dict[int, bytes] = {}
    for name, wanted in by_chunk.items():
        if wanted:
            held = chunks[name]
            data = await store.get(keys.chunk(tenant_id, video_id, version, name), MAX_CHUNK_BYTES)
            for frame, picture in zip(held, decode_frames(name, data, len(held)), strict=True):
                if frame in frames:
                    pictures[frame] = png(picture, optimize=True)
    return pictures
