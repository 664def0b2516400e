"""Draws where captions are looked for on a contact sheet of the film: what ``--preview`` writes."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cli.shared.output import remark
from cli.shared.pictures import encoded
from core.files import write_whole
from core.film_time import clock
from inference.arrays import Frames
from inference.finding.search import Sight
from inference.finding.zone import Zone

_WIDTH: Final = 1472  # of a sheet with many pictures
_LARGEST_CELL: Final = 480  # pixels wide
_GAP: Final = 8
_LABEL: Final = 18  # pixels high
_STAMP: Final = 24  # rows at a picture's top that belong to its time
_COLOURS: Final = ((255, 70, 70), (80, 200, 255), (255, 210, 60), (120, 255, 120))


def write_sheet(path: Path, sight: Sight | None, zones: Sequence[Zone]) -> None:
    """Write the contact sheet of a film and report it, or report why there is none.

    Raises:
        PermanentError: the file cannot be written.
    """
    if sight is None or not sight.samples:
        remark("no preview: there was no picture to draw on")
        return
    write_whole(path, draw_sheet(sight.samples, zones, path.suffix))
    remark(f"preview written to {path}")


def draw_sheet(pictures: Sequence[tuple[float, Frames]], zones: Sequence[Zone], extension: str = ".png") -> bytes:
    """A file of this extension: the pictures with their times, each with the zones framed.

    Args:
        pictures: at least one; seconds and RGB.
    """
    height, width = pictures[0][1].shape[:2]
    columns = _columns(len(pictures), width / height)
    cell_width = min(_LARGEST_CELL, (_WIDTH - _GAP) // columns - _GAP)
    cells = [_cell(seconds, picture, zones, cell_width) for seconds, picture in pictures]
    rows = -(-len(cells) // columns)
    width, height = cells[0].size
    sheet = Image.new("RGB", (columns * (width + _GAP) + _GAP, rows * (height + _GAP) + _GAP), (24, 24, 24))
    for number, cell in enumerate(cells):
        sheet.paste(cell, (_GAP + number % columns * (width + _GAP), _GAP + number // columns * (height + _GAP)))
    return encoded(sheet, extension)


def _columns(count: int, aspect: float) -> int:
    """Return how many columns make a sheet that is about as wide as high, with pictures of this width per height."""
    return min(range(1, count + 1), key=lambda columns: abs(math.log(columns * aspect / -(-count // columns))))


def _cell(seconds: float, picture: Frames, zones: Sequence[Zone], width: int) -> Image.Image:
    scale = width / picture.shape[1]
    cell = Image.fromarray(np.ascontiguousarray(picture)).resize((width, round(picture.shape[0] * scale)))
    draw = ImageDraw.Draw(cell)
    font = ImageFont.load_default(14)
    for number, zone in enumerate(zones):
        colour = _COLOURS[number % len(_COLOURS)]
        box = zone.box
        draw.rectangle((box.left * scale, box.top * scale, box.right * scale - 1, box.bottom * scale - 1), outline=colour, width=2)
        above = box.top * scale - _LABEL
        place = above if above >= _STAMP else min(box.bottom * scale + 2, cell.height - _LABEL - 2)
        draw.text((box.left * scale + 4, place), f"{zone.name}, {zone.anchor.value}", colour, font, stroke_width=2, stroke_fill="black")
    draw.text((6, 4), clock(seconds), "white", font, stroke_width=2, stroke_fill="black")
    return cell
