"""Draws strips one below the other, with their times: what ``extents strips`` writes."""

from collections.abc import Mapping
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from cli.shared.pictures import png
from core.captions import CaptionExtent
from core.film_time import clock
from core.types import FRAMES_PER_SECOND
from inference.arrays import Frames

INSIDE: Final = (26, 127, 78)
"""Colour of the bar beside a strip that shows the caption."""

_OUTSIDE: Final = (150, 156, 166)
_GROUND: Final = (24, 24, 24)
_LABEL: Final = 190  # pixels at the left, for the bar and the frame's number and time
_BAR: Final = 6
_GAP: Final = 4
_BREAK: Final = 24  # between the frames around the start and those around the end
_LEAST_HEIGHT: Final = 18  # of a row, for its label


def draw_strips(pictures: Mapping[int, Frames], caption: CaptionExtent) -> bytes:
    """A PNG of the frames, which ascend; at least one, all of one size."""
    height, width = next(iter(pictures.values())).shape[:2]
    row = max(height, _LEAST_HEIGHT) + _GAP
    tops: list[int] = []
    previous: int | None = None
    for frame in pictures:
        below = _GAP if previous is None else tops[-1] + row + (_BREAK if frame > previous + 1 else 0)
        tops.append(below)
        previous = frame
    sheet = Image.new("RGB", (_LABEL + width + _GAP, tops[-1] + row), _GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for top, (frame, picture) in zip(tops, pictures.items(), strict=True):
        inside = caption.first_frame <= frame <= caption.last_frame
        draw.rectangle((_GAP, top, _GAP + _BAR - 1, top + row - _GAP - 1), fill=INSIDE if inside else _OUTSIDE)
        draw.text((_GAP + _BAR + 6, top + 1), f"frame {frame}, {clock(frame / FRAMES_PER_SECOND)}", "white", font)
        sheet.paste(Image.fromarray(picture), (_LABEL, top))
    return png(sheet)
