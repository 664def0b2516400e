"""The strips either side of a boundary that a report embeds."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from cli.film.runs.opened_run import OpenedRun
from cli.film.runs.run_frames import read_frames
from cli.shared.output import Report
from inference.arrays import Frames
from pages.report.payload import Filmstrip

FRAMES_EITHER_SIDE: Final = 2
"""One frame each side shows the change; the second shows whether it lasts."""

MAX_SIZE: Final = (840, 96)
"""Of an embedded strip, in pixels: as wide as it is shown."""

JPEG_QUALITY: Final = 80


def read_filmstrips(opened: OpenedRun, folder: Path | None, pairs: Sequence[int], report: Report) -> list[Filmstrip]:
    """Strips around each pair, in the order given.

    Args:
        folder: as in ``read_frames``.

    Raises:
        MissingObjectError, CorruptInputError: as ``read_frames``.
    """
    frame_count = opened.run.pairs + 1
    ranges = {pair: range(max(0, pair + 1 - FRAMES_EITHER_SIDE), min(frame_count, pair + 1 + FRAMES_EITHER_SIDE)) for pair in pairs}
    images = read_frames(opened, folder, {frame for frames in ranges.values() for frame in frames}, _jpeg, report)
    return [Filmstrip(pair, frames.start, [images[frame] for frame in frames]) for pair, frames in ranges.items()]


def _jpeg(pixels: Frames) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail(MAX_SIZE, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()
