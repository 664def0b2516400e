"""Decodes WebM chunks (VP9) from memory, front to back. ``inference.media.span`` assembles them into spans.

Demuxer and decoder are fixed, so that a stored file never reaches FFmpeg's other parsers.
"""

import io
from collections.abc import Iterator
from typing import Final

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from core.errors import CorruptInputError
from inference.arrays import Frames

MAX_WIDTH: Final = 4096
"""A strip is at most as wide as its film, and 4096 is the width of the widest 4K format."""

MAX_HEIGHT: Final = 1024
"""Captions are a few lines high, less than half of a 4K film's 2160. Together with ``MAX_WIDTH`` this limits a frame to
13 MB, where a VP9 header of a few bytes can claim 65536×65536."""


def decode_frames(name: str, data: bytes, frame_count: int, needed: int | None = None) -> Iterator[Frames]:
    """Decode a chunk's frames one by one, in the order they are stored.

    Several threads may decode chunks at once: PyAV releases the GIL. Memory is limited to a few frames of
    ``MAX_WIDTH`` × ``MAX_HEIGHT``, whatever the file claims.

    Args:
        name: the chunk's name in errors.
        frame_count: how many frames the chunk must contain.
        needed: decode only this many frames and ignore the rest; all by default.

    Yields:
        uint8 (height, width, 3) RGB, all of one size; each is only valid until the next one.

    Raises:
        CorruptInputError: not WebM or not VP9, broken, a wrong number of frames, frames too large or of different sizes.
    """
    needed = frame_count if needed is None else needed
    size = (0, 0)
    decoded = 0
    try:
        for image in _decode_rgb(name, data):
            if decoded == frame_count:
                raise CorruptInputError(f"{name}: more than the {frame_count} frames it should hold")
            if decoded and image.shape[:2] != size:
                raise CorruptInputError(
                    f"{name}: frame {decoded} is {_shown(image.shape)}, the ones before it {_shown(size)}; a chunk has one frame size"
                )
            size = image.shape[:2]
            yield image
            decoded += 1
            if decoded == needed < frame_count:
                return
    except MemoryError:  # raised by FFmpeg too; the chunk itself is fine
        raise
    except (av.error.FFmpegError, ValueError) as error:  # PyAV raises ValueError for a broken header
        reason = error.strerror if isinstance(error, av.error.FFmpegError) else error
        raise CorruptInputError(f"{name}: not a readable WebM file with VP9 after {decoded} of {frame_count} frames: {reason}") from error
    if decoded < needed:
        raise CorruptInputError(f"{name}: {decoded} frames, {frame_count} expected")


def _decode_rgb(name: str, data: bytes) -> Iterator[Frames]:
    """Yield each frame as (height, width, 3) RGB, only valid until the next one."""
    limits = {"max_pixels": str(MAX_WIDTH * MAX_HEIGHT)}  # frame headers may claim more than the file's; probing decodes too
    with av.open(io.BytesIO(data), "r", format="matroska", options=limits, metadata_errors="replace") as container:
        if len(container.streams) != 1 or len(container.streams.video) != 1:
            kinds = ", ".join(stream.type for stream in container.streams) or "none"
            raise CorruptInputError(f"{name}: streams: {kinds}; expected one video stream")
        stream = container.streams.video[0]
        codec = stream.codec_context
        codec_name = codec.name if codec else "unknown"  # PyAV has no context for a codec unknown to FFmpeg
        if codec_name != "vp9":
            raise CorruptInputError(f"{name}: codec {codec_name}, expected vp9")
        _check_size(name, codec.width, codec.height)
        codec.options = dict(limits)
        codec.thread_count = 1  # chunks are decoded in parallel instead
        reformatter = VideoReformatter()
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise CorruptInputError(f"{name}: cut off inside a frame")
            for frame in packet.decode():
                _check_size(name, frame.width, frame.height)
                yield _to_rgb(reformatter, frame)


def _to_rgb(reformatter: VideoReformatter, frame: av.VideoFrame) -> Frames:
    """Convert bit for bit as OpenCV 4 does, which produced the training frames of the production models.

    OpenCV treats every file as BT.601 with limited range, whatever its tags say, interpolates chroma bicubically (PyAV's
    bilinear default is up to 50 off in strips of odd height) and converts to BGR (RGB uses another path, up to 5 off).
    """
    converted = reformatter.reformat(
        frame,
        format="bgr24",
        src_colorspace=Colorspace.ITU601,
        src_color_range=ColorRange.MPEG,
        interpolation=Interpolation.BICUBIC,
        threads=1,
    )
    plane = converted.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width * 3].reshape(plane.height, plane.width, 3)[..., ::-1]


def _check_size(name: str, width: int, height: int) -> None:
    if not (0 < width <= MAX_WIDTH and 0 < height <= MAX_HEIGHT):
        actual = f"{width}×{height}" if width > 0 and height > 0 else "no size that can be read, or one far too large"
        raise CorruptInputError(f"{name}: frames of {actual}; a strip has 1×1 to {MAX_WIDTH}×{MAX_HEIGHT} pixels")


def _shown(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]}"
