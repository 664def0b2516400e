"""How many frames a chunk holds, told by its packets: where only the chunks are there, this gives the frame count."""

import io

import av

from core.errors import CorruptInputError
from inference.media.decode import MAX_HEIGHT, MAX_WIDTH


def count_frames(name: str, data: bytes) -> int:
    """Count a chunk's frames without decoding them; each packet of a chunk is one frame.

    Raises:
        CorruptInputError: no WebM with one video stream, or nothing in it. Names ``name``.
    """
    try:
        limits = {"max_pixels": str(MAX_WIDTH * MAX_HEIGHT)}  # opening decodes a little, whatever size its header claims
        with av.open(io.BytesIO(data), "r", format="matroska", options=limits) as container:
            if len(container.streams.video) != 1:
                raise CorruptInputError(f"{name}: {len(container.streams.video)} video streams; expected 1")
            count = sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)
    except (av.FFmpegError, ValueError) as error:
        raise CorruptInputError(f"{name}: no readable WebM: {error}") from error
    if count == 0:
        raise CorruptInputError(f"{name}: no frames in it; a chunk has at least 1")
    return count
