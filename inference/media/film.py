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
import structlog
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from core.errors import CorruptInputError
from core.film_time import clock
from core.types import FRAMES_PER_SECOND
from inference.media.damage import LEAST_MISSING_SECONDS, Damage
from inference.media.opening import Warn, open_container, reason

Picture = npt.NDArray[np.uint8]  # (height, width, 3) RGB
T = TypeVar("T")

log = structlog.get_logger()

_LONGEST_HOLD: Final = Fraction(3600)
"""One picture may last an hour. A longer time means broken timestamps: each hour would become 36,000 frames."""

_LARGEST_STEP_BACK: Final = Fraction(1)
"""Muxers reorder a few frames. A clock that steps back further was restarted in the middle of the file."""


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """A picture and when it is shown, in seconds from the film's start."""

    start: Fraction
    duration: Fraction
    picture: T

    @property
    def end(self) -> Fraction:
        return self.start + self.duration


class Film:
    """An open film. Owned by one thread, read once from the front.

    Attributes:
        stream: the demuxer's description.
        width, height: the picture as shown, in pixels, after the rotation that phones store with it.
        rotation: in degrees, counterclockwise, from the stored picture to the one that is shown.
        duration_seconds: from the container, for progress; None if it gives none.
    """

    def __init__(self, path: Path, container: InputContainer, stream: VideoStream, warn: Warn) -> None:
        self._path = path
        self._container = container
        self._warn = warn
        self._damage = Damage()
        self._origin = _origin(container, stream)
        self._frame_seconds = 1 / (stream.average_rate or Fraction(FRAMES_PER_SECOND))
        self._position = Fraction(0)  # where the last returned picture begins
        self.stream: Final = stream
        self.duration_seconds: Final = container.duration / av.time_base if container.duration else None
        self._decoded = self._decode()
        self._first: VideoFrame | None = next(self._decoded, None)
        if self._first is None:
            raise CorruptInputError(f"{path}: its video stream holds no picture that can be decoded")
        self.rotation: Final = self._first.rotation
        self.height, self.width = upright(self._first).shape[:2]

    def pictures(self) -> Iterator[Picture]:
        """Yield the picture shown at each tenth of a second, from 0 to the end of the last picture's time.

        A film whose first picture comes later begins with that picture. The same array is repeated while a
        picture lasts; do not write to it.

        Raises:
            CorruptInputError: as ``frames``.
        """
        shown: VideoFrame | None = None
        for frame in sample(self.frames()):
            if frame is not shown:
                shown, picture = frame, upright(frame)
            yield picture

    def frames(self) -> Iterator[Timed[VideoFrame]]:
        """Yield every picture that is shown, as decoded, in ascending time.

        A packet that cannot be decoded is skipped with a warning, and the picture before it lasts longer.

        Raises:
            CorruptInputError: most of the file cannot be decoded, its clock jumps, or its pictures change size.
        """
        previous: Timed[VideoFrame] | None = None
        for frame in chain([self._first] if self._first else [], self._decoded):
            self._first = None  # a decoded picture takes 3 MB or more
            start = self._start_of(frame, previous)
            if previous is not None:
                self._check_clock(previous.start, start)
                if start <= previous.start:
                    continue
                self._check_size(previous.picture, frame)
            previous = Timed(start, _duration(frame) or self._frame_seconds, frame)
            yield previous
            self._position = start
        self._check_end(previous)

    def _start_of(self, frame: VideoFrame, previous: Timed[VideoFrame] | None) -> Fraction:
        if frame.pts is not None and frame.time_base is not None:
            return frame.pts * frame.time_base - self._origin
        # Raw streams carry no times: frames follow each other at the stream's rate.
        return Fraction(0) if previous is None else previous.start + self._frame_seconds

    def _check_clock(self, previous: Fraction, start: Fraction) -> None:
        if start - previous > _LONGEST_HOLD or previous - start > _LARGEST_STEP_BACK:
            raise CorruptInputError(
                f"{self._path}: its clock jumps from {float(previous):.1f} s to {float(start):.1f} s; "
                "the file is damaged or was joined from several: remux it with continuous timestamps"
            )

    def _check_size(self, previous: VideoFrame, frame: VideoFrame) -> None:
        if (frame.width, frame.height) != (previous.width, previous.height):
            raise CorruptInputError(
                f"{self._path}: its pictures change from {previous.width}x{previous.height} to {frame.width}x{frame.height} pixels; "
                "a crop box needs one size throughout"
            )

    def _decode(self) -> Iterator[VideoFrame]:
        """Decode packet by packet, so that a broken packet costs only its own picture and those that refer to it."""
        for packet in self._packets():
            try:
                frames = packet.decode()
            except MemoryError:  # raised by FFmpeg too; the film itself is fine
                raise
            except (av.FFmpegError, ValueError) as error:
                self._damage.add(self._shown_at(packet), reason(error))
                continue
            self._damage.decoded += bool(packet.size)
            yield from frames

    def _packets(self) -> "Iterator[Packet[VideoStream]]":
        packets = self._container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, ValueError) as error:  # everything read before is valid
                self._damage.broke_off = reason(error)
                return
            if packet is None:
                return
            yield packet

    def _shown_at(self, packet: "Packet[VideoStream]") -> float:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or packet.time_base is None:
            return float(self._position)
        return max(0.0, float(stamp * packet.time_base - self._origin))

    def _check_end(self, last: Timed[VideoFrame] | None) -> None:
        """Warn about missing parts of the film.

        Raises:
            CorruptInputError: more packets failed than were decoded.
        """
        damage = self._damage
        if damage.is_most:
            raise CorruptInputError(f"{self._path}: cannot be decoded after {float(self._position):.1f} s: {damage.why}")
        if damage.failed:
            self._warn(f"{self._path}: {damage.skipped()} ({damage.why}); the previous picture lasts longer instead")
        end = float(last.end) if last else 0.0
        stated = self._stated_end()
        if stated is not None and end < stated - LEAST_MISSING_SECONDS:
            self._warn(f"{self._path}: its pictures end at {clock(end)}, but its header says {clock(stated)}: it was cut short")
        elif damage.broke_off:
            self._warn(f"{self._path}: cannot be read after {clock(end)}: {damage.broke_off}")

    def _stated_end(self) -> float | None:
        """Return when the last picture's time should end: by the stream, or otherwise by the container, which may include sound."""
        stream = self.stream
        if stream.duration is not None and stream.time_base is not None:
            begins = (stream.start_time or 0) * stream.time_base - self._origin
            return float(begins + stream.duration * stream.time_base)
        return self.duration_seconds


def log_damage(message: str) -> None:
    """Log warnings about a film for callers that do not read them."""
    log.warning("film.damaged", message=message)


@contextmanager
def open_film(path: Path, warn: Warn = log_damage) -> Iterator[Film]:
    """Open a film and decode its first picture.

    Args:
        warn: receives a sentence for each fault of the film that does not stop the work.

    Raises:
        CorruptInputError: the file is not a video, has no video stream, or cannot be decoded at all.
    """
    container, stream = open_container(path, warn)
    with container:
        yield Film(path, container, stream, warn)


def sample(pictures: Iterable[Timed[T]]) -> Iterator[T]:
    """Yield the picture shown at each multiple of 0.1 s: the last one that has started by then.

    ``pictures`` start in ascending order. Each lasts until the next one starts, the last for its own duration. The
    first also covers the time before it.
    """
    for timed, samples in count_samples(pictures):
        for _ in range(samples):
            yield timed.picture


def count_samples(pictures: Iterable[Timed[T]]) -> Iterator[tuple[Timed[T], int]]:
    """Yield each picture with the number of samples that show it, as in ``sample``: usually 0 or 1."""
    index = 0
    current: Timed[T] | None = None
    for following in pictures:
        if current is not None:
            samples = _samples_before(following.start, index)
            yield current, samples
            index += samples
        current = following
    if current is not None:
        yield current, _samples_before(current.end, index)


def _samples_before(end: Fraction, index: int) -> int:
    """Count the samples from ``index`` on that are before ``end``."""
    return max(0, -(-end * FRAMES_PER_SECOND // 1) - index)


def upright(frame: VideoFrame) -> Picture:
    """Convert to RGB, rotated as players do."""
    picture = frame.to_ndarray(format="rgb24")
    return np.rot90(picture, frame.rotation // 90)


def _origin(container: InputContainer, stream: VideoStream) -> Fraction:
    """Return the timestamp that players show as 0:00, in seconds: where the container begins, even if that is sound."""
    if container.start_time is not None:
        return Fraction(container.start_time, av.time_base)
    if stream.start_time is not None and stream.time_base is not None:
        return stream.start_time * stream.time_base
    return Fraction(0)


def _duration(frame: VideoFrame) -> Fraction | None:
    return frame.duration * frame.time_base if frame.duration and frame.time_base else None
