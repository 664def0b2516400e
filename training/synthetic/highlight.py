"""Words that are lit one after the other while their caption stays: the lit word changes its colour, and may grow and have a box.

A grown word shifts the others of its line, as video editors and lyrics players draw it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from core.types import Anchor
from training.synthetic.fonts import load_font
from training.synthetic.lettering import CAPITAL_HEIGHT, Colour, Lettering, Mask, Picture, Style, blur, lay, unit
from training.synthetic.timeline import Caption
from training.synthetic.words import RIGHT_TO_LEFT, Line

_SAME_SIZE_SHARE: Final = 0.3
_GROWTH: Final = (1.08, 1.45)
_BOX_SHARE: Final = 0.6
_LATE_SHARE: Final = 0.3  # of the captions begin with no word lit
_SMALLEST_FONT: Final = 7


@dataclass(frozen=True, slots=True)
class Light:
    """How a lit word looks: ``growth`` is its size relative to the others; ``box`` is the colour of its box, None without one."""

    growth: float
    colour: Colour
    box: Colour | None


@dataclass(frozen=True, slots=True)
class LitLettering:
    """A caption with at most one word lit: its masks, ``colours`` (height, width, 3) to fill the letters with, and the lit word's box."""

    lettering: Lettering
    colours: Picture
    box: Mask


class LitWords:
    """One caption whose words are lit in reading order, with equal times that fill its duration."""

    def __init__(self, rng: np.random.Generator, caption: Caption, style: Style, light: Light, width: int, height: int) -> None:
        self._caption, self._style, self._light, self._size = caption, style, light, (width, height)
        self._late = int(rng.random() < _LATE_SHARE)
        self._drawn: dict[int, LitLettering] = {}

    def word(self, t: int) -> int:
        """Return the number of the word that is lit in a frame, counted through all lines; -1 for none."""
        steps = sum(len(line.words) for line in self._caption.lines) + self._late
        return (t - self._caption.start) * steps // (self._caption.stop - self._caption.start) - self._late

    def at(self, t: int) -> tuple[Lettering, Picture]:
        """Return the letters of a frame, and what to fill them with."""
        drawn = self._draw(self.word(t))
        return drawn.lettering, drawn.colours

    def put_box(self, picture: Picture, t: int, opacity: float) -> None:
        """Paint the lit word's box into a frame, in place, if it has one."""
        if self._light.box is not None:
            lay(picture, self._draw(self.word(t)).box, self._light.box, opacity)

    def _draw(self, word: int) -> LitLettering:
        if word not in self._drawn:
            self._drawn[word] = draw_lit(self._caption.lines, self._style, self._light, word, *self._size)
        return self._drawn[word]


def pick_light(rng: np.random.Generator, fill: Colour) -> Light:
    """Pick a light that keeps a word readable: with a box the opposite of its box, otherwise as bright or dark as the other words."""
    growth = 1.0 if rng.random() < _SAME_SIZE_SHARE else float(rng.uniform(*_GROWTH))
    if rng.random() >= _BOX_SHARE:
        return Light(growth, _tint(rng, bright=sum(fill) > 300), None)
    bright = bool(rng.random() < 0.5)
    return Light(growth, _tint(rng, bright=not bright), _tint(rng, bright=bright))


def draw_lit(lines: tuple[Line, ...], style: Style, light: Light, lit: int, width: int, height: int) -> LitLettering:
    """Draw the lines with word number ``lit`` lit, at one size for the whole caption, whichever word is lit."""
    slot = height / style.rows
    above = style.gravity * (style.rows - len(lines))
    size = max(_SMALLEST_FONT, round(slot * style.line_share))
    room = width - 2 * style.margin * height
    while size > _SMALLEST_FONT and max(_widest(line, style, light, size) for line in lines) > room:
        size = max(_SMALLEST_FONT, int(size * 0.92))
    fill, edge, lamp, box = (Image.new("L", (width, height)) for _ in range(4))
    first = 0
    for row, line in enumerate(lines):
        base = slot * (above + row + 0.5) + CAPITAL_HEIGHT / 2 * size + style.baseline_shift * height
        sizes = [round(size * light.growth) if first + place == lit else size for place in range(len(line.words))]
        for place, (left, right) in _places(line, style, sizes, size, width, height):
            boxed = first + place == lit and light.box is not None
            font = load_font(style.face.path, sizes[place])
            text = _word(line, place)
            if boxed:
                pad = 0.12 * size
                top = base - 1.35 * CAPITAL_HEIGHT * sizes[place]
                ImageDraw.Draw(box).rectangle((left - pad, top, right + pad, base + 0.25 * sizes[place]), fill=255)
            if style.outline and not boxed:
                stroke = max(0.6, style.outline * height)
                ImageDraw.Draw(edge).text((left, base), text, fill=255, font=font, anchor="ls", stroke_width=stroke)
            for mask in (fill, lamp) if first + place == lit else (fill,):
                ImageDraw.Draw(mask).text((left, base), text, fill=255, font=font, anchor="ls")
        first += len(line.words)
    fill, edge = blur(fill, style.softness), blur(edge, style.softness)
    written = fill.getbbox() or (0, 0, 0, 0)
    colours = np.where(
        unit(blur(lamp, style.softness))[..., None] > 0, np.asarray(light.colour, np.float32), np.asarray(style.fill, np.float32)
    )
    return LitLettering(Lettering(unit(fill), unit(edge), written[0], written[2]), colours, unit(box))


def _places(line: Line, style: Style, sizes: list[int], size: int, width: int, height: int) -> list[tuple[int, tuple[float, float]]]:
    """Return each word's number and its left and right end in pixels."""
    gap = load_font(style.face.path, size).getlength(" ") if line.spaced else 0.0
    lengths = [load_font(style.face.path, points).getlength(_word(line, place)) for place, points in enumerate(sizes)]
    whole = sum(lengths) + gap * (len(lengths) - 1)
    margin = style.margin * height
    x = {Anchor.LEFT: margin, Anchor.CENTER: (width - whole) / 2, Anchor.RIGHT: width - margin - whole}[style.anchor]
    places = []
    for place in range(len(lengths))[:: -1 if line.script in RIGHT_TO_LEFT else 1]:
        places.append((place, (x, x + lengths[place])))
        x += lengths[place] + gap
    return places


def _widest(line: Line, style: Style, light: Light, size: int) -> float:
    """Return the line's width in pixels while its longest word is lit."""
    font = load_font(style.face.path, size)
    return font.getlength(line.text) + (light.growth - 1) * max(font.getlength(word) for word in line.words)


def _word(line: Line, place: int) -> str:
    """Return a word, with the line's punctuation behind the last one."""
    return line.words[place] + (line.terminator if place == len(line.words) - 1 else "")


def _tint(rng: np.random.Generator, *, bright: bool) -> Colour:
    """Pick a colour that is clearly brighter or darker than mid-grey."""
    colour: npt.NDArray[np.float64] = rng.uniform(0, 255, 3)
    luma = float(colour @ (0.299, 0.587, 0.114))
    colour = colour + (255 - colour) * max(0.0, (185 - luma) / (255 - luma)) if bright else colour * min(1.0, 75 / max(luma, 1.0))
    red, green, blue = colour.tolist()
    return red, green, blue
