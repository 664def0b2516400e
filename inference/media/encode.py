"""Turns a film into cropped strips in chunks: the layout that ``core.frames`` describes, written through a sink."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Protocol

import av
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from PIL import Image

from core.errors import CorruptInputError
from core.frames import FRAMES_PER_CHUNK, LEVELS, chunk_name, level_of
from core.types import FRAMES_PER_SECOND, Anchor, Layout
from inference.media.box import CropBox as CropBox
from inference.media.film import Picture, count_samples, log_damage, open_film
from inference.media.opening import Warn
from inference.media.strips import Cutter

_VP9_OPTIONS: Final = {
    "crf": "20",  # of 63: letters keep their edges, and a 400x28 strip takes about 500 bytes
    "b": "0",  # constant quality needs the rate limit off
    "deadline": "realtime",
    "cpu-used": "5",
    "lag-in-frames": "0",  # no invisible reference frames: every packet is one frame
    "threads": "1",  # the bytes must not depend on the machine's cores
}
_WEBM_OPTIONS: Final = {"fflags": "+bitexact"}  # without it the muxer writes random ids
_TIME_BASE: Final = Fraction(1, FRAMES_PER_SECOND)


class ChunkSink(Protocol):
    """Receives chunks."""

    def write(self, name: str, content: bytes) -> None:
        """Keep a chunk. ``name`` is its path below ``cropped_frames_v{version}/``; each comes once."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What was written: the number of strips, and the layout that belongs to them."""

    frame_count: int
    layout: Layout


def encode_film(
    path: Path,
    crop: CropBox,
    anchor: Anchor,
    sink: ChunkSink,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
    warn: Warn = log_damage,
) -> Encoded:
    """Sample a film at 10 Hz, cut out the crop box and write the strips as VP9 chunks.

    Memory does not grow with the film: one chunk of each level is open at a time. The same film and box give the same
    bytes.

    Args:
        on_progress: called with the number of strips so far and their estimated total (None if the container does not give a duration).
        warn: receives a sentence for each fault of the film that does not stop the work.

    Raises:
        CorruptInputError: the film cannot be read, or has fewer than two strips.
        PermanentError: the box reaches outside the frame.
    """
    with open_film(path, warn) as film:
        crop.check_within(film.width, film.height)
        total = None if film.duration_seconds is None else round(film.duration_seconds * FRAMES_PER_SECOND)
        levels = {level: _LevelWriter(level, sink) for level in LEVELS}
        edges = _EdgeMap()
        cutter = Cutter(film, crop)
        count = 0
        for timed, samples in count_samples(film.frames()):
            if not samples:
                continue
            strip = np.ascontiguousarray(cutter.strip(cutter.cut(timed.picture)))
            for _ in range(samples):
                levels[level_of(count)].add(count, strip)
                if count % LEVELS[0] == 0:  # edges recur: a sample of them draws the same map
                    edges.add(strip)
                count += 1
            on_progress(count, total)
        if count < 2:
            raise CorruptInputError(f"{path}: {count} frame at {FRAMES_PER_SECOND} Hz; comparing frames takes at least 2")
        for writer in levels.values():
            writer.close()
        layout = Layout(
            anchor=anchor,
            crop_left=crop.left,
            crop_top=crop.top,
            crop_right=crop.right,
            crop_bottom=crop.bottom,
            frame_width=film.width,
            frame_height=film.height,
            ocr_image=edges.png(),
        )
        return Encoded(count, layout)


class _LevelWriter:
    """Fills the chunks of one level, one after the other."""

    def __init__(self, level: int, sink: ChunkSink) -> None:
        self._level = level
        self._sink = sink
        self._chunk: _ChunkEncoder | None = None
        self._first_frame = 0

    def add(self, frame: int, strip: Picture) -> None:
        if self._chunk is None:
            self._first_frame = frame
            self._chunk = _ChunkEncoder(strip.shape[1], strip.shape[0])
        self._chunk.add(strip)
        if self._chunk.frame_count == FRAMES_PER_CHUNK:
            self.close()

    def close(self) -> None:
        if self._chunk is not None:
            self._sink.write(chunk_name(self._level, self._first_frame), self._chunk.finish())
            self._chunk = None


class _ChunkEncoder:
    """One WebM file in memory."""

    def __init__(self, width: int, height: int) -> None:
        self._file = io.BytesIO()
        self._container: OutputContainer = av.open(self._file, "w", format="webm", options=_WEBM_OPTIONS)
        self._stream = self._container.add_stream("libvpx-vp9", rate=FRAMES_PER_SECOND, options=_VP9_OPTIONS)
        self._stream.width, self._stream.height, self._stream.pix_fmt = (
            width,
            height,
            "yuv420p",
        )
        self._stream.codec_context.flags |= av.codec.context.Flags.bitexact  # leave the library's version out of the file
        self.frame_count = 0

    def add(self, strip: Picture) -> None:
        frame = av.VideoFrame.from_ndarray(strip, format="rgb24")
        frame.pts, frame.time_base = self.frame_count, _TIME_BASE
        self._container.mux(self._stream.encode(frame))
        self.frame_count += 1

    def finish(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._file.getvalue()


class _EdgeMap:
    """Stands in for the OCR visualisation: shows where in the strip edges recur, brightest where letters are.

    In production that image is drawn from the boxes that an OCR engine found. There is none here, so this draws what the
    boxes would surround. The built-in model does not use it.
    """

    def __init__(self) -> None:
        self._sum: npt.NDArray[np.int64] | None = None

    def add(self, strip: Picture) -> None:
        luma = strip.astype(np.int64).sum(axis=2)
        across = np.abs(np.diff(luma, axis=1, prepend=luma[:, :1]))
        down = np.abs(np.diff(luma, axis=0, prepend=luma[:1]))
        self._sum = across + down if self._sum is None else self._sum + across + down

    def png(self) -> bytes:
        """Encode RGB of the strip's size, scaled so that the strongest edge is white."""
        if self._sum is None:
            raise ValueError("no strip was added")
        grey = (self._sum * 255 // max(1, int(self._sum.max()))).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(grey).convert("RGB").save(file, format="PNG")
        return file.getvalue()
