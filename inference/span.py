"""A span's chunks to its frames, in order: each chunk is decoded as soon as it is there, in whichever thread brings it."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from core.errors import CorruptInputError, MissingObjectError
from core.frames import Chunk, Span, span_chunks
from inference.arrays import Frames
from inference.decode import decode_chunk

DECODE_THREADS: Final = 2


class SpanAssembly:
    """Collects one span's frames. ``decode`` may be called from several threads at once, once for each of ``chunks``.

    The buffer is taken when the first chunk has been decoded, since only then is the frame size known: whoever keeps
    a budget of memory decodes one chunk, reads ``size_bytes``, and waits for room before the others.
    """

    def __init__(self, span: Span, frame_count: int) -> None:
        self.chunks: Final[tuple[Chunk, ...]] = tuple(span_chunks(span, frame_count))
        self._wanted = span.frames
        self._lock = threading.Lock()
        self._frames: Frames | None = None  # (frames of the span, height, width, 3)
        self._first_name = ""
        self._waiting = {chunk.name for chunk in self.chunks}

    @property
    def size_bytes(self) -> int:
        """What the assembled frames take; 0 before the first chunk has been decoded."""
        return 0 if self._frames is None else self._frames.nbytes

    def decode(self, chunk: Chunk, data: bytes) -> None:
        """Decode one of ``chunks`` into its places. Of the chunk that only lends the shared last frame, no more is decoded.

        Raises:
            CorruptInputError: the chunk cannot be decoded, or its frames are of another size than the span's.
        """
        wanted = [i for i in chunk.frames if i in self._wanted]  # always the chunk's first ones
        frames = decode_chunk(chunk.name, data, len(chunk.frames), needed=len(wanted))
        with self._lock:
            if self._frames is None:
                self._frames = np.empty((len(self._wanted), *frames.shape[1:]), np.uint8)
                self._first_name = chunk.name
            whole = self._frames
        if frames.shape[1:] != whole.shape[1:]:
            raise CorruptInputError(
                f"{chunk.name}: frames of {_size(frames)}, but {self._first_name} has {_size(whole)}; a video has one frame size"
            )
        whole[np.array(wanted) - self._wanted.start] = frames
        with self._lock:
            self._waiting.discard(chunk.name)

    def frames(self) -> Frames:
        """The span's frames in order, uint8 (n, height, width, 3) RGB.

        Raises:
            MissingObjectError: a chunk has not been decoded; names the first.
        """
        missing = [chunk.name for chunk in self.chunks if chunk.name in self._waiting]
        if missing or self._frames is None:
            raise MissingObjectError(f"{missing[0]}: not among the span's chunks; {len(missing)} of {len(self.chunks)} are missing")
        return self._frames


def decode_span(span: Span, frame_count: int, chunks: Mapping[str, bytes], threads: int = DECODE_THREADS) -> Frames:
    """Decode a whole span at once from its chunks' bytes by name; for callers that have them all.

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


def _size(frames: Frames) -> str:
    return f"{frames.shape[2]}×{frames.shape[1]}"
