"""A caption as layers: masks of its glyphs and outline, and the colours to draw them in."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from core.types import Anchor
from training.synthetic.fonts import Face, load_font
from training.synthetic.words import Line

Mask = npt.NDArray[np.float32]  # (height, width), 0..1
Picture = npt.NDArray[np.float32]  # (height, width, 3), 0..255
Colour = tuple[float, float, float]

WHITE: Final[Colour] = (250.0, 250.0, 250.0)
BLACK: Final[Colour] = (5.0, 5.0, 5.0)
CAPITAL_HEIGHT: Final = 0.68  # em
_SMALLEST_FONT: Final = 7  # pixels; below it strokes of most scripts run together


@dataclass(frozen=True, slots=True)
class Style:
    """Look of the captions of one clip. Lengths are shares of the strip's height.

    Attributes:
        rows: lines that fit into the strip; ``gravity`` places fewer lines, 0 (top) to 1 (bottom).
        line_share: height of the font relative to that of a row.
        baseline_shift: how far the text sits below the middle.
        margin: distance from the strip's side when anchored there.
        outline: width of the outline; 0 means none.
        shadow: offset of a soft shadow; 0 means none.
        softness: standard deviation of the blur of the letters, in pixels.
    """

    face: Face
    anchor: Anchor
    fill: Colour
    edge: Colour
    rows: int
    gravity: float
    line_share: float
    baseline_shift: float
    margin: float
    outline: float
    shadow: float
    softness: float
    opacity: float


@dataclass(frozen=True, slots=True)
class Lettering:
    """Masks of a caption over the whole strip. ``left`` and ``right`` bound its glyphs, in pixels."""

    fill: Mask
    edge: Mask
    left: int
    right: int

    @property
    def cover(self) -> Mask:
        """Where the caption hides the background."""
        return np.maximum(self.fill, self.edge)


def draw(lines: tuple[Line, ...], style: Style, width: int, height: int) -> Lettering:
    """Draw the lines into a strip, scaled down until they fit its width."""
    texts = [line.text for line in lines]
    slot = height / style.rows
    above = style.gravity * (style.rows - len(texts))  # rows left free
    size = max(_SMALLEST_FONT, round(slot * style.line_share))
    room = width - 2 * style.margin * height
    font = load_font(style.face.path, size)
    while size > _SMALLEST_FONT and max(font.getlength(text) for text in texts) > room:
        size = max(_SMALLEST_FONT, int(size * 0.92))
        font = load_font(style.face.path, size)
    x = {Anchor.LEFT: style.margin * height, Anchor.CENTER: width / 2, Anchor.RIGHT: width - style.margin * height}[style.anchor]
    letter = {Anchor.LEFT: "l", Anchor.CENTER: "m", Anchor.RIGHT: "r"}[style.anchor]
    fill, edge = Image.new("L", (width, height)), Image.new("L", (width, height))
    for row, text in enumerate(texts):
        at = (x, slot * (above + row + 0.5) + CAPITAL_HEIGHT / 2 * size + style.baseline_shift * height)
        ImageDraw.Draw(fill).text(at, text, fill=255, font=font, anchor=letter + "s")
        if style.outline:
            ImageDraw.Draw(edge).text(at, text, fill=255, font=font, anchor=letter + "s", stroke_width=max(0.6, style.outline * height))
        if style.shadow:
            offset = max(1.0, style.shadow * height)
            ImageDraw.Draw(edge).text((at[0] + offset, at[1] + offset), text, fill=230, font=font, anchor=letter + "s")
    if style.shadow:
        edge = edge.filter(ImageFilter.GaussianBlur(max(0.5, style.shadow * height / 2)))
    fill, edge = blur(fill, style.softness), blur(edge, style.softness)
    box = fill.getbbox() or (0, 0, 0, 0)
    return Lettering(unit(fill), unit(edge), box[0], box[2])


def lay(picture: Picture, mask: Mask, colour: Colour | Picture, opacity: float) -> None:
    """Blend ``colour`` into the picture through the mask, in place."""
    picture += (np.asarray(colour, np.float32) - picture) * (mask * np.float32(opacity))[..., None]


def blur(mask: Image.Image, softness: float) -> Image.Image:
    """Blur letters by a standard deviation in pixels; 0 leaves them sharp."""
    return mask.filter(ImageFilter.GaussianBlur(softness)) if softness else mask


def unit(mask: Image.Image) -> Mask:
    return np.asarray(mask, np.float32) / np.float32(255)
