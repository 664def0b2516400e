"""Takes single pictures spread over a whole film, without decoding those between them."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from inference.media.film import open_film
from inference.media.opening import open_container

_SHORT_SECONDS: Final = 75.0
"""A shorter film is decoded completely, because it may have a single key picture."""

_INTERVAL_SECONDS: Final = 0.5


def glimpse(path: Path, count: int) -> Iterator[tuple[float, VideoFrame]]:
    """Yield up to ``count`` pictures with their times in seconds, ascending: key pictures, or evenly spread ones of a short film.

    Broken pictures are skipped without a warning, because reading the whole film gives one.

    Raises:
        CorruptInputError: the file cannot be opened as a film.
    """
    container, stream = open_container(path, lambda message: None)
    with container:
        seconds = container.duration / av.time_base if container.duration else None
        if seconds is not None and seconds > _SHORT_SECONDS:
            yield from _key_pictures(container, stream, seconds, count)
            return
    yield from _spread(path, count)


def _key_pictures(container: InputContainer, stream: VideoStream, seconds: float, count: int) -> Iterator[tuple[float, VideoFrame]]:
    stream.codec_context.skip_frame = "NONKEY"
    begins = container.start_time or 0
    last: int | None = None
    for number in range(count):
        frame = None
        with suppress(av.FFmpegError, ValueError):
            container.seek(begins + int((number + 0.5) / count * seconds * av.time_base))
            frame = _next_key_picture(container, stream, last)
        if frame is None or frame.pts is None or frame.pts == last or stream.time_base is None:  # a drained picture has no time base itself
            continue
        last = frame.pts
        yield float(frame.pts * stream.time_base) - begins / av.time_base, frame


def _next_key_picture(container: InputContainer, stream: VideoStream, last: int | None) -> VideoFrame | None:
    """Decode the next key picture alone; None if it is the last one again.

    The decoder is drained after each packet: left alone, it returns a picture only after several more packets, and its threads decode the
    key pictures after it, too. The next seek resets it.
    """
    for packet in container.demux(stream):
        if packet.is_keyframe or not packet.size:
            if packet.pts is not None and packet.pts == last:
                return None
            frames = packet.decode() or stream.codec_context.decode(None)
            if frames:
                return frames[0]
    return None


def _spread(path: Path, count: int) -> Iterator[tuple[float, VideoFrame]]:
    with open_film(path, lambda message: None) as film:
        interval = max(_INTERVAL_SECONDS, (film.duration_seconds or 0.0) / count)
        following, given = 0.0, 0
        for timed in film.frames():
            if timed.start >= following and given < count:
                following, given = float(timed.start) + interval, given + 1
                yield float(timed.start), timed.picture
