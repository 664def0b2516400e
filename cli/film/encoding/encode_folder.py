"""Writes an encoded film into a folder. A version is written completely or not at all."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from cli.shared.output import Report, remark
from core.errors import PermanentError
from core.types import Anchor, Layout
from inference.media.box import CropBox
from inference.media.encode import encode_film
from storage.layout_writer import pack_layout
from storage.layouts import parse_layout


@dataclass(frozen=True, slots=True)
class Target:
    """What was written and where. ``where`` and ``layout`` are a path or an object's address."""

    where: str
    layout: str
    frame_count: int
    chunks: int
    size_bytes: int


def encode_to_folder(video: Path, crop: CropBox, anchor: Anchor, folder: Path, version: int, report: Report) -> Target:
    """Write ``cropped_frames_v{version}`` and, unless it exists, ``layout.db`` into a folder.

    Raises:
        PermanentError: the version exists, the folder's layout has another crop, or the folder cannot be written.
    """
    final, layout_path = folder / f"cropped_frames_v{version}", folder / "layout.db"
    if final.exists():
        raise PermanentError(f"{final} exists already; choose another --version, or remove it")
    if layout_path.exists():
        check_same_crop(parse_layout(layout_path.read_bytes(), str(layout_path)), crop, anchor, str(layout_path))
    partial = folder / f".{final.name}.partial"
    sink = FolderSink(partial)
    try:
        shutil.rmtree(partial, ignore_errors=True)  # left by a killed command
        encoded = encode_film(video, crop, anchor, sink, report, remark)
        if not layout_path.exists():
            layout_path.write_bytes(pack_layout(encoded.layout))
        partial.replace(final)
    except OSError as error:
        raise PermanentError(f"{folder}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Target(str(final), str(layout_path), encoded.frame_count, sink.chunks, sink.size_bytes)


class FolderSink:
    """Writes a file per chunk. The first chunk creates the folder, so that an unreadable film leaves none."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.chunks = 0
        self.size_bytes = 0

    def write(self, name: str, content: bytes) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.chunks += 1
        self.size_bytes += len(content)


def check_same_crop(layout: Layout, crop: CropBox, anchor: Anchor, where: str) -> None:
    """Check that the crop is the layout's: all versions of a video share one layout, which runs of older versions still read."""
    stored_crop = CropBox(layout.crop_left, layout.crop_top, layout.crop_right, layout.crop_bottom)
    if (stored_crop, layout.anchor) != (crop, anchor):
        raise PermanentError(
            f"{where} exists with crop {stored_crop}, anchor {layout.anchor}, not crop {crop}, anchor {anchor}; "
            "encode another crop as a separate video"
        )
