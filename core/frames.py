"""How a video's frames are stored in chunks and cut into spans: pure arithmetic over frame indices.

Each frame is stored once. Level 16 holds the frames with i % 16 == 0, level 4 those with i % 4 == 0 that level 16 does not
hold, and level 1 the rest. Within a level frames ascend, 32 to a chunk. The 512 frames from a multiple of 512 are therefore
exactly 1 + 3 + 12 whole chunks, which form a span.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LEVELS: Final = (16, 4, 1)
FRAMES_PER_CHUNK: Final = 32
FRAMES_PER_SPAN: Final = 512

MAX_CHUNK_BYTES: Final = 32 * 1024 * 1024
"""Far above any chunk: 32 strips of 4096×1024 pixels make about 10 MB. A larger object is not read."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One WebM file. ``frames`` are its frame indices in encoding order."""

    level: int
    frames: tuple[int, ...]

    @property
    def name(self) -> str:
        """Path below ``cropped_frames_v{version}/``."""
        return chunk_name(self.level, self.frames[0])


@dataclass(frozen=True, slots=True)
class Span:
    """The unit of work: the pairs (i, i + 1) with ``first_pair <= i <= last_pair``, both inclusive.

    Its frames are ``first_pair`` to ``last_pair + 1``. Consecutive spans share one frame: the pair (511, 512) belongs
    to span 0, which therefore also reads frame 512.
    """

    index: int
    first_pair: int
    last_pair: int

    @property
    def pair_count(self) -> int:
        return self.last_pair - self.first_pair + 1

    @property
    def frames(self) -> range:
        return range(self.first_pair, self.last_pair + 2)


def chunk_name(level: int, first_frame: int) -> str:
    return f"modulo_{level}/chunk_{first_frame:010d}.webm"


def level_of(frame: int) -> int:
    """The level that stores this frame."""
    return next(level for level in LEVELS if frame % level == 0)


def level_frames(level: int, frames: range) -> list[int]:
    """The indices among ``frames`` that ``level`` stores, ascending."""
    start = -(-frames.start // level) * level
    return [i for i in range(start, frames.stop, level) if level_of(i) == level]


def plan_chunks(frame_count: int) -> list[Chunk]:
    """Every chunk of a video, level by level, each level ascending.

    Raises:
        ValueError: fewer than one frame.
    """
    if frame_count < 1:
        raise ValueError(f"{frame_count} frames; a video has at least 1")
    return [chunk for level in LEVELS for chunk in _cut(level, level_frames(level, range(frame_count)))]


def span_count(frame_count: int) -> int:
    return math.ceil((frame_count - 1) / FRAMES_PER_SPAN)


def plan_span(index: int, frame_count: int) -> Span:
    """Span ``index`` of a video.

    Raises:
        ValueError: the video has no such span.
    """
    if not 0 <= index < span_count(frame_count):
        raise ValueError(f"span {index} of a video of {frame_count} frames, which has {max(0, span_count(frame_count))}")
    first = index * FRAMES_PER_SPAN
    return Span(index, first, min(first + FRAMES_PER_SPAN - 1, frame_count - 2))


def plan_spans(frame_count: int) -> list[Span]:
    """Cut a video into the units of work that one GPU worker takes at a time.

    Raises:
        ValueError: fewer than two frames, so there is no pair to compare.
    """
    if frame_count < 2:
        raise ValueError(f"{frame_count} frames; a pair needs at least 2")
    return [plan_span(index, frame_count) for index in range(span_count(frame_count))]


def span_chunks(span: Span, frame_count: int) -> list[Chunk]:
    """The chunks that hold a span's frames: at most 1 + 3 + 12 of its own, and the one with its last, shared frame."""
    own = range(span.first_pair, min(span.first_pair + FRAMES_PER_SPAN, frame_count))
    chunks = [chunk for level in LEVELS for chunk in _cut(level, level_frames(level, own))]
    shared = span.frames.stop - 1
    if shared not in own:  # the first frame of the next span, so the first of a chunk of level 16
        following = range(shared, min(shared + FRAMES_PER_SPAN, frame_count))
        chunks += _cut(LEVELS[0], level_frames(LEVELS[0], following))
    return chunks


def _cut(level: int, frames: Sequence[int]) -> list[Chunk]:
    return [Chunk(level, tuple(frames[start : start + FRAMES_PER_CHUNK])) for start in range(0, len(frames), FRAMES_PER_CHUNK)]
