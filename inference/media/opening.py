"""Opens a file as a film, and explains in plain words if it cannot be opened."""

import os
import select
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from core.errors import CorruptInputError
from inference.media.no_films import why_no_film

Warn = Callable[[str], None]
"""Receives a sentence about a fault of a film that does not stop the work."""

_HEAD_BYTES: Final = 4096
_POLL_MILLISECONDS: Final = 200
_MP4_MARKS: Final = (b"ftyp", b"mdat", b"moov", b"wide", b"free", b"skip")


def open_container(path: Path, warn: Warn) -> tuple[InputContainer, VideoStream]:
    """Open a file and choose its film among its streams. For a pipe, this waits until it has a writer.

    Raises:
        CorruptInputError: the file is not a video, or has no video stream.
    """
    is_pipe = stat.S_ISFIFO(path.stat().st_mode)
    if is_pipe:
        warn(f"{path} is a pipe: waiting for a program that writes a film to it")
    try:
        # An absolute path, because FFmpeg takes the part before a colon in a name for a protocol.
        container = _open_pipe(path) if is_pipe else av.open(path.absolute(), metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:  # ValueError: PyAV's error for a broken header
        raise CorruptInputError(f"{path}: {_why_unreadable(path, error, is_pipe=is_pipe)}") from error
    no_film = why_no_film(container.format.name)
    if no_film is not None:
        container.close()
        raise CorruptInputError(f"{path}: {no_film}")
    # A cover picture in a music file is a video stream to the demuxer, but not a film.
    films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not films:
        container.close()
        raise CorruptInputError(f"{path}: there is no video stream in it")
    films[0].thread_type = "AUTO"
    return container, films[0]


def _open_pipe(path: Path) -> InputContainer:
    """Wait for a writer, and open what it writes. FFmpeg's own wait would miss a Ctrl-C that comes just before it."""
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        writer = select.poll()
        writer.register(pipe, select.POLLIN)
        while not writer.poll(_POLL_MILLISECONDS):
            pass
        os.set_blocking(pipe, True)
        return av.open(f"pipe:{pipe}", metadata_errors="replace")  # FFmpeg duplicates the descriptor
    finally:
        os.close(pipe)


def reason(error: Exception) -> str:
    """FFmpeg's message without number and path."""
    return str(error.strerror) if isinstance(error, av.FFmpegError) else str(error)


def _why_unreadable(path: Path, error: Exception, *, is_pipe: bool) -> str:
    if is_pipe:
        return f"what came through the pipe cannot be read as a video: {reason(error)}; MP4 cannot be piped unless it is fragmented"
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        return "the file is empty (0 bytes)"
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[4:8] in _MP4_MARKS and not _has_atom(path, b"moov", size_bytes):
        return (
            "an MP4 without its index (moov), which is written last: the recording or the copy was cut short; "
            "a repair tool can rebuild the index with the help of an intact film from the same camera"
        )
    if _is_text(head):
        return "this is text, not a video"
    return f"cannot be read as a video: {reason(error)}"


def _has_atom(path: Path, wanted: bytes, size_bytes: int) -> bool:
    """Whether an MP4 has an atom of this kind at its top level. Reads only the headers of atoms."""
    position = 0
    with path.open("rb") as file:
        while position + 8 <= size_bytes:
            file.seek(position)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if kind == wanted:
                return True
            if length == 1:  # the length is in the 64 bits that follow
                length = int.from_bytes(header[8:16], "big")
            if length < 8:  # 0: up to the end of the file
                return False
            position += length
    return False


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4  # cut inside the last character
    return True
