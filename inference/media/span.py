"""Assembles a span's frames from its chunks, each decoded as soon as it arrives, in the thread that fetched it."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from core.errors import CorruptInputError, MissingObjectError
from core.frames import Chunk, Span, span_chunks
from inference.arrays import Frames
from inference.media.decode import decode_frames

DECODE_THREADS: Final = 2


class SpanAssembly:
    """Collects one span's frames. ``decode`` may be called from several threads at once, once for each of ``chunks``.

    The frame size is known from the first frame on: a caller with a memory budget calls ``measure``, and reserves the
    memory before it decodes.
    """

    def __init__(self, span: Span, frame_count: int) -> None:
        self.chunks: Final[tuple[Chunk, ...]] = tuple(span_chunks(span, frame_count))
        self._wanted = span.frames
        self._lock = threading.Lock()
        self._first: tuple[str, tuple[int, int]] | None = None  # the first chunk seen, and its frames' height and width
        self._frames: Frames | None = None  # (frames of the span, height, width, 3)
        self._waiting = {chunk.name for chunk in self.chunks}

    def measure(self, data: bytes) -> int:
        """Decode a frame of the first chunk from its ``data``, and return the size of the span's frames in bytes.

        Raises:
            CorruptInputError: it cannot be decoded.
        """
        chunk = self.chunks[0]
        frame = next(decode_frames(chunk.name, data, len(chunk.frames)))
        self._check(chunk, frame)
        return len(self._wanted) * frame.nbytes

    def decode(self, chunk: Chunk, data: bytes) -> None:
        """Decode one of ``chunks`` into its places. A chunk that only provides the shared last frame is decoded no further.

        Raises:
            CorruptInputError: the chunk cannot be decoded, or its frame size differs from the span's.
        """
        places = [i - self._wanted.start for i in chunk.frames if i in self._wanted]  # always the chunk's first ones
        for place, frame in zip(places, decode_frames(chunk.name, data, len(chunk.frames), needed=len(places)), strict=True):
            self._check(chunk, frame)
            self._whole(frame)[place] = frame
        with self._lock:
            self._waiting.discard(chunk.name)

    def _check(self, chunk: Chunk, frame: Frames) -> None:
        size = frame.shape[:2]
        with self._lock:
            self._first = self._first or (chunk.name, size)
            name, expected = self._first
        if size != expected:
            raise CorruptInputError(
                f"{chunk.name}: frames of {size[1]}×{size[0]}, but {name} has {expected[1]}×{expected[0]}; a video has one frame size"
            )

    def _whole(self, frame: Frames) -> Frames:
        with self._lock:
            if self._frames is None:
                self._frames = np.empty((len(self._wanted), *frame.shape), np.uint8)
            return self._frames

    def frames(self) -> Frames:
        """The span's frames in order, uint8 (n, height, width, 3) RGB.

        Raises:
            MissingObjectError: a chunk has not been decoded; the message names the first.
        """
        missing = [chunk.name for chunk in self.chunks if chunk.name in self._waiting]
        if missing or self._frames is None:
            raise MissingObjectError(f"{missing[0]}: not among the span's chunks; {len(missing)} of {len(self.chunks)} are missing")
        return self._frames


def decode_span(span: Span, frame_count: int, chunks: Mapping[str, bytes], threads: int = DECODE_THREADS) -> Frames:
    """Decode a whole span at once from its chunks' bytes by name, for callers that have all of them.

    Returns:
        uint8 (span.pair_count + 1, height, width, 3) RGB.

    Raises:
        MissingObjectError: a chunk is not in the mapping.
        CorruptInputError: a chunk cannot be decoded, or two have different frame sizes.
    """
    assembly = SpanAssembly(span, frame_count)
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        present = [chunk for chunk in assembly.chunks if chunk.name in chunks]
        for _ in pool.map(lambda chunk: assembly.decode(chunk, chunks[chunk.name]), present):
            pass
    return assembly.frames()
