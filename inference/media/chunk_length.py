"""Counts a chunk's frames by its packets, for callers that do not know the number of frames."""

import io

import av

from core.errors import CorruptInputError
from inference.media.decode import MAX_HEIGHT, MAX_WIDTH


def count_frames(name: str, data: bytes) -> int:
    """Count a chunk's frames without decoding them; each packet of a chunk is one frame.

    Raises:
        CorruptInputError: not a WebM file with one video stream, or an empty one; the message names it.
    """
    try:
        limits = {
            "max_pixels": str(MAX_WIDTH * MAX_HEIGHT)
        }  # opening a file decodes a little of it, however large a frame its header claims
        with av.open(io.BytesIO(data), "r", format="matroska", options=limits) as container:
            if len(container.streams.video) != 1:
                raise CorruptInputError(f"{name}: {len(container.streams.video)} video streams; expected 1")
            count = sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)
    except (av.FFmpegError, ValueError) as error:
        raise CorruptInputError(f"{name}: not a readable WebM file: {error}") from error
    if count == 0:
        raise CorruptInputError(f"{name}: it contains no frames; a chunk has at least 1")
    return count
