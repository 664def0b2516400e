"""Small videos: coarse noise in strips of a few pixels, encoded as the encoder would."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from uuid import UUID

import numpy as np
from PIL import Image

from core.frames import plan_chunks
from core.types import Anchor, Layout
from inference.engine.predictor import Frames
from storage.keys import Keys
from storage.layout_writer import pack_layout
from storage.objects import ObjectStore
from tests.inference.webm import encode, random_frames

HEIGHT, WIDTH = 20, 64
VERSION = 1


@dataclass(frozen=True, slots=True)
class Video:
    """The stored objects of one video.

    Attributes:
        chunks: by their names.
        layout: the bytes of ``layout.db``; None where there is none.
    """

    frame_count: int
    chunks: Mapping[str, bytes]
    layout: bytes | None

    async def upload(self, store: ObjectStore, keys: Keys, tenant_id: UUID, video_id: UUID, version: int = VERSION) -> None:
        for name, data in self.chunks.items():
            await store.put(keys.chunk(tenant_id, video_id, version, name), data)
        if self.layout is not None:
            await store.put(keys.layout(tenant_id, video_id), self.layout)

    def with_chunk(self, name: str, data: bytes | None) -> "Video":
        """The same video with one chunk replaced or left out."""
        assert name in self.chunks
        chunks = {**self.chunks, name: data}
        return replace(self, chunks={name: data for name, data in chunks.items() if data is not None})


@cache
def video(frame_count: int) -> Video:
    """A video of this many frames, always the same."""
    frames = _frames(frame_count)
    chunks = {chunk.name: encode(frames[list(chunk.frames)]) for chunk in plan_chunks(frame_count)}
    return Video(frame_count, chunks, pack_layout(LAYOUT))


def chunk(frame_count: int, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """A chunk with other frames."""
    return encode(random_frames(frame_count, height, width, seed=2))


def _frames(count: int) -> Frames:
    """Every picture is shown for three frames, so that there are different kinds of pairs."""
    return random_frames(-(-count // 3), HEIGHT, WIDTH).repeat(3, axis=0)[:count]


def _png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


LAYOUT = Layout(Anchor.CENTER, 0, 40, WIDTH, 40 + HEIGHT, WIDTH, 80, _png())
