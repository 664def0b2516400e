"""WebM chunks to frames: VP9 decoded from memory, front to back. Placing them in a span is ``inference.media.span``'s.

The demuxer and decoder are named outright, so a stored file can reach no other of FFmpeg's parsers.
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
"""A strip is at most as wide as its film; 4096 is the widest of the 4K formats."""

MAX_HEIGHT: Final = 1024
"""A strip of captions is a few lines high, under half of a 4K film's 2160. With ``MAX_WIDTH`` it bounds what a frame
takes: 13 MB, where a VP9 header of a few bytes may claim 65536×65536."""


def decode_frames(name: str, data: bytes, frame_count: int, needed: int | None = None) -> Iterator[Frames]:
    """Decode a chunk's frames one by one, in the order they are stored.

    Several threads may each decode a chunk; PyAV lets go of the GIL. Memory is bounded by a few frames of
    ``MAX_WIDTH`` × ``MAX_HEIGHT``, whatever the file claims.

    Args:
        name: what errors call the chunk.
        frame_count: how many frames the chunk must hold.
        needed: decode the first so many only and do not look at the rest; all by default.

    Yields:
        uint8 (height, width, 3) RGB, all of one size; each is valid until the next.

    Raises:
        CorruptInputError: no WebM, no VP9, broken, of another number of frames, too large, or of a changing size.
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
    except MemoryError:  # FFmpeg's own, too: nothing is wrong with the chunk
        raise
    except (av.error.FFmpegError, ValueError) as error:  # ValueError: what PyAV itself makes of a broken header
        reason = error.strerror if isinstance(error, av.error.FFmpegError) else error
        raise CorruptInputError(f"{name}: no readable WebM with VP9 after {decoded} of {frame_count} frames: {reason}") from error
    if decoded < needed:
        raise CorruptInputError(f"{name}: {decoded} frames, {frame_count} expected")


def _decode_rgb(name: str, data: bytes) -> Iterator[Frames]:
    """Yield each frame as (height, width, 3) RGB; what is yielded is valid until the next."""
    limits = {"max_pixels": str(MAX_WIDTH * MAX_HEIGHT)}  # for frames whose own headers claim more than the file's; probing decodes, too
    with av.open(io.BytesIO(data), "r", format="matroska", options=limits, metadata_errors="replace") as container:
        if len(container.streams) != 1 or len(container.streams.video) != 1:
            kinds = ", ".join(stream.type for stream in container.streams) or "none"
            raise CorruptInputError(f"{name}: streams: {kinds}; expected one video stream")
        stream = container.streams.video[0]
        codec = stream.codec_context
        codec_name = codec.name if codec else "unknown"  # PyAV has no context for a codec that FFmpeg does not know
        if codec_name != "vp9":
            raise CorruptInputError(f"{name}: codec {codec_name}, expected vp9")
        _check_size(name, codec.width, codec.height)
        codec.options = dict(limits)
        codec.thread_count = 1  # chunks are what runs in parallel
        reformatter = VideoReformatter()
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise CorruptInputError(f"{name}: cut off inside a frame")
            for frame in packet.decode():
                _check_size(name, frame.width, frame.height)
                yield _to_rgb(reformatter, frame)


def _to_rgb(reformatter: VideoReformatter, frame: av.VideoFrame) -> Frames:
    """Convert as OpenCV 4 does, bit for bit, since that made the frames production models learned from.

    It takes every file for BT.601 of limited range, whatever its tags say, interpolates chroma bicubically (PyAV's
    bilinear default is up to 50 off in strips of odd height) and converts to BGR (to RGB takes another path, up to 5 off).
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
