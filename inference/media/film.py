"""Reads films: any file PyAV opens, as the pictures a viewer sees at 0.0, 0.1, 0.2, ... seconds."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Final, Generic, TypeVar

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from core.errors import CorruptInputError
from core.types import FRAMES_PER_SECOND

Picture = npt.NDArray[np.uint8]  # (height, width, 3) RGB
T = TypeVar("T")

_LONGEST_HOLD: Final = Fraction(3600)
"""One picture may stand for an hour; longer, and the timestamps are broken: each hour would become 36,000 frames."""

_LARGEST_STEP_BACK: Final = Fraction(1)
"""Muxers disorder a few frames; a clock that steps back further has been restarted in the middle of the file."""


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """A picture and when it is shown, in seconds from the film's start."""

    start: Fraction
    duration: Fraction
    picture: T


class Film:
    """An open film. Owned by one thread, read once from the front.

    Attributes:
        width, height: the picture as shown, in pixels, after the rotation that phones note beside it.
        duration_seconds: what the container says, for progress; None when it says nothing.
    """

    def __init__(self, path: Path, container: InputContainer, stream: VideoStream) -> None:
        self._path = path
        self._origin = _origin(container, stream)
        self._frame_seconds = 1 / (stream.average_rate or Fraction(FRAMES_PER_SECOND))
        self._decoded = container.decode(stream)
        self._position = Fraction(0)  # where the last picture taken begins
        self._first = self._next_frame()
        if self._first is None:
            raise CorruptInputError(f"{path}: its video stream holds no picture that can be decoded")
        self.height, self.width = _upright(self._first).shape[:2]
        self.duration_seconds = container.duration / av.time_base if container.duration else None

    def pictures(self) -> Iterator[Picture]:
        """The picture on show at each tenth of a second, from 0 until the last one's time is up.

        A film that shows something only later begins with its first picture. The same array comes again while a
        picture stands; do not write to it.

        Raises:
            CorruptInputError: the file breaks off in undecodable data, its clock jumps, or its pictures change size.
        """
        shown: VideoFrame | None = None
        for frame in sample(self._timed()):
            if frame is not shown:
                shown, picture = frame, self._checked(frame)
            yield picture

    def _timed(self) -> Iterator[Timed[VideoFrame]]:
        previous: Fraction | None = None
        for frame in self._frames():
            start = self._start_of(frame, previous)
            if previous is not None:
                if start - previous > _LONGEST_HOLD or previous - start > _LARGEST_STEP_BACK:
                    raise CorruptInputError(
                        f"{self._path}: its clock jumps from {float(previous):.1f} s to {float(start):.1f} s; "
                        "the file is damaged or was joined from several: remux it so that time runs on"
                    )
                if start <= previous:
                    continue
            yield Timed(start, _duration(frame) or self._frame_seconds, frame)
            self._position = previous = start

    def _start_of(self, frame: VideoFrame, previous: Fraction | None) -> Fraction:
        if frame.pts is not None and frame.time_base is not None:
            return frame.pts * frame.time_base - self._origin
        # Raw streams carry no times: frames follow each other at the stream's rate.
        return Fraction(0) if previous is None else previous + self._frame_seconds

    def _frames(self) -> Iterator[VideoFrame]:
        return chain([self._first] if self._first else [], iter(self._next_frame, None))

    def _next_frame(self) -> VideoFrame | None:
        try:
            return next(self._decoded, None)
        except (av.FFmpegError, ValueError) as error:
            raise CorruptInputError(f"{self._path}: cannot be decoded after {float(self._position):.1f} s: {_reason(error)}") from error

    def _checked(self, frame: VideoFrame) -> Picture:
        picture = _upright(frame)
        height, width = picture.shape[:2]
        if (width, height) != (self.width, self.height):
            raise CorruptInputError(
                f"{self._path}: its pictures change from {self.width}x{self.height} to {width}x{height} pixels; "
                "a crop box needs one size throughout"
            )
        return picture


@contextmanager
def open_film(path: Path) -> Iterator[Film]:
    """Open a film and decode its first picture.

    Raises:
        CorruptInputError: no video file, no video stream in it, or nothing to decode there.
    """
    try:
        # Absolute, or FFmpeg takes what stands before a colon in a name for a protocol.
        container = av.open(path.absolute(), metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:  # ValueError: what PyAV itself makes of a broken header
        raise CorruptInputError(f"{path}: cannot be read as a video: {_reason(error)}") from error
    with container:
        # A cover picture in a music file is a video stream to the demuxer, but no film.
        films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not films:
            raise CorruptInputError(f"{path}: there is no video stream in it")
        films[0].thread_type = "AUTO"
        yield Film(path, container, films[0])


def sample(pictures: Iterable[Timed[T]]) -> Iterator[T]:
    """Take what is shown at each multiple of 0.1 s: the last picture that has started by then.

    ``pictures`` start in ascending order. Each stands until the next one starts, the last for its own duration; the
    first also stands for the time before it.
    """
    index = 0
    current: Timed[T] | None = None
    for following in pictures:
        if current is not None:
            while Fraction(index, FRAMES_PER_SECOND) < following.start:
                yield current.picture
                index += 1
        current = following
    if current is None:
        return
    while Fraction(index, FRAMES_PER_SECOND) < current.start + current.duration:
        yield current.picture
        index += 1


def _origin(container: InputContainer, stream: VideoStream) -> Fraction:
    """The timestamp players show as 0:00, in seconds: where the container begins, be it with sound."""
    if container.start_time is not None:
        return Fraction(container.start_time, av.time_base)
    if stream.start_time is not None and stream.time_base is not None:
        return stream.start_time * stream.time_base
    return Fraction(0)


def _reason(error: Exception) -> str:
    """FFmpeg's words without number and path."""
    return str(error.strerror) if isinstance(error, av.FFmpegError) else str(error)


def _duration(frame: VideoFrame) -> Fraction | None:
    return frame.duration * frame.time_base if frame.duration and frame.time_base else None


def _upright(frame: VideoFrame) -> Picture:
    """RGB, turned the way players turn it."""
    picture = frame.to_ndarray(format="rgb24")
    return np.rot90(picture, frame.rotation // 90)
