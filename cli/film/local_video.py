"""A video whose chunks are in a folder or in memory, with everything that a run needs."""

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from core.errors import CorruptInputError, MissingObjectError
from core.frames import FRAMES_PER_CHUNK, LEVELS, level_frames, plan_chunks
from core.types import Layout
from inference.media.chunk_length import count_frames
from storage.layout_writer import pack_layout
from storage.layouts import expand, parse_layout

FRAMES_FOLDER: Final = re.compile(r"cropped_frames_v([1-9][0-9]*)")
_CHUNK: Final = re.compile(r"modulo_([0-9]+)/chunk_([0-9]{10})\.webm")

ReadChunk = Callable[[str], bytes]


@dataclass(frozen=True)
class LocalVideo:
    """The input of a run. ``read_chunk`` returns a chunk's bytes by its name; several threads may call it at once."""

    layout: Layout
    layout_sha256: str
    version: int
    frame_count: int
    read_chunk: ReadChunk

    @cached_property
    def sha256(self) -> str:
        """Digest of the layout and every chunk: the same content is the same video, wherever it is stored."""
        digest = hashlib.sha256(self.layout_sha256.encode())
        for chunk in plan_chunks(self.frame_count):
            digest.update(hashlib.sha256(self.read_chunk(chunk.name)).digest())
        return digest.hexdigest()


def open_memory(layout: Layout, frame_count: int, chunks: Mapping[str, bytes]) -> LocalVideo:
    """A video just encoded into ``chunks``, by name."""
    return LocalVideo(layout, hashlib.sha256(pack_layout(layout)).hexdigest(), 1, frame_count, chunks.__getitem__)


def open_folder(folder: Path, version: int | None) -> LocalVideo:
    """Open a folder written by ``extents encode`` or copied from the store: ``layout.db`` and ``cropped_frames_v*/…``.

    Args:
        version: version of the cropped frames; None for the newest.

    Raises:
        MissingObjectError: the layout, the version or a chunk is missing; the message names the first.
        CorruptInputError: the layout or a level's last chunk cannot be read, or a chunk does not belong to a video of this length.
    """
    versions = sorted(int(match[1]) for path in folder.iterdir() if path.is_dir() and (match := FRAMES_FOLDER.fullmatch(path.name)))
    if not versions:
        raise MissingObjectError(f"{folder}: it contains no cropped_frames_v* folder; extents encode makes one")
    if version is not None and version not in versions:
        raise MissingObjectError(f"{folder}: it has no version {version} of the cropped frames; there are: {', '.join(map(str, versions))}")
    version = version or versions[-1]
    root = folder / f"cropped_frames_v{version}"
    names = {name for path in root.glob("*/*") if is_chunk(name := path.relative_to(root).as_posix())}
    layout, layout_sha256 = _read_layout(folder)
    return LocalVideo(
        layout=layout,
        layout_sha256=layout_sha256,
        version=version,
        frame_count=find_frame_count(str(root), names, lambda name: count_frames(str(root / name), (root / name).read_bytes())),
        read_chunk=lambda name: (root / name).read_bytes(),
    )


def is_chunk(name: str) -> bool:
    """Whether a file or object below ``cropped_frames_v*`` is a chunk; other files may be there too."""
    return _CHUNK.fullmatch(name) is not None


def find_frame_count(where: str, names: Collection[str], count_frames: Callable[[str], int]) -> int:
    """The number of frames in a video with exactly these chunks.

    A chunk's name contains its first frame, so only the last chunk of each level has to be counted.

    Raises:
        MissingObjectError: a chunk is missing; the message names the first in the order of ``core.frames.plan_chunks``.
        CorruptInputError: there is only one frame, or a chunk that does not belong to the video.
    """
    firsts: dict[int, list[int]] = {level: [] for level in LEVELS}
    for name in names:
        match = _CHUNK.fullmatch(name)
        if match and int(match[1]) in firsts:
            firsts[int(match[1])].append(int(match[2]))
    frame_count = 0
    for level, starts in firsts.items():
        if starts:
            first = max(starts)
            count = count_frames(f"modulo_{level}/chunk_{first:010d}.webm")
            if count > FRAMES_PER_CHUNK:
                raise CorruptInputError(
                    f"{where}/modulo_{level}/chunk_{first:010d}.webm: {count} frames; expected at most {FRAMES_PER_CHUNK}"
                )
            # Levels 1 and 4 store three of four indices, so twice the range is enough.
            stored = level_frames(level, range(first, first + 2 * level * FRAMES_PER_CHUNK))
            frame_count = max(frame_count, stored[count - 1] + 1)
    if frame_count == 0:
        raise MissingObjectError(f"{where}: it contains no chunks; expected modulo_16/chunk_0000000000.webm and others")
    if frame_count == 1:
        raise CorruptInputError(f"{where}: 1 frame; comparing frames takes at least 2")
    planned = {chunk.name: None for chunk in plan_chunks(frame_count)}
    missing = [name for name in planned if name not in names]
    if missing:
        raise MissingObjectError(
            f"{where}/{missing[0]} is missing, as {len(missing)} of the {len(planned)} chunks of {frame_count} frames are"
            if len(missing) > 1
            else f"{where}/{missing[0]} is missing, one of the {len(planned)} chunks of {frame_count} frames"
        )
    strays = sorted(name for name in names if name not in planned)
    if strays:
        raise CorruptInputError(f"{where}/{strays[0]} does not belong to a video of {frame_count} frames")
    return frame_count


def _read_layout(folder: Path) -> tuple[Layout, str]:
    plain, packed = folder / "layout.db", folder / "layout.db.gz"
    if plain.exists():
        data = plain.read_bytes()
    elif packed.exists():
        data = expand(packed.read_bytes(), str(packed))
    else:
        raise MissingObjectError(f"{folder}: it contains neither layout.db nor layout.db.gz; extents encode makes one")
    return parse_layout(data, str(plain if plain.exists() else packed)), hashlib.sha256(data).hexdigest()
