"""Backgrounds that look like letters without being any: lights at night, rows of seats and spectators, clothes of people who move."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from training.synthetic.ground import Shot

Colour = tuple[int, int, int]

_FIGURE_FRAMES: Final = 16  # of one movement to and fro
_LAMPS: Final = ((255, 236, 200), (255, 196, 110), (255, 250, 245), (180, 210, 255), (255, 90, 60), (110, 240, 160))


def lookalike(rng: np.random.Generator, height: int, width: int) -> Shot:
    """Generate a shot of one kind at random, larger than the strip so that a camera can move over it."""
    makers: tuple[Callable[[np.random.Generator, int, int], Shot], ...] = (lights, seats, figures)
    return makers[int(rng.integers(len(makers)))](rng, 3 * height, width + width // 2)


def lights(rng: np.random.Generator, rows: int, columns: int) -> Shot:
    """A city or candles at night: small lamps, many of them in rows as streets are, some of which flicker."""
    dark = rng.uniform(0, 45, 3)
    picture = Image.new("RGB", (columns, rows), _colour(dark))
    pen = ImageDraw.Draw(picture)
    tall = rng.uniform(0.6, 4) if rng.random() < 0.4 else 1.0
    size = rng.uniform(0.008, 0.035) * rows
    lamps = []
    for _ in range(int(rng.integers(6, 30))):
        count = int(rng.integers(4, 50))
        begin, slope = rng.uniform(0, (columns, rows)), rng.normal(0, 0.12)
        along = np.cumsum(rng.uniform(0.6, 3.5, count) * 2 * size)
        colour = _LAMPS[int(rng.integers(len(_LAMPS)))]
        for step in along:
            x, y = begin[0] + step, begin[1] + slope * step + rng.normal(0, 0.3 * size)
            lamps.append((x, y, size * rng.uniform(0.4, 1.2), _dim(colour, rng.uniform(0.35, 1.0))))
    frames = []
    flickering = rng.random(len(lamps)) < rng.uniform(0, 0.3)
    for _ in range(4):
        pen.rectangle((0, 0, columns, rows), fill=_colour(dark))
        for lamp, (x, y, radius, colour) in enumerate(lamps):
            if not flickering[lamp] or rng.random() < 0.6:
                pen.ellipse((x - radius, y - radius * tall, x + radius, y + radius * tall), fill=colour)
        glow = picture.filter(ImageFilter.GaussianBlur(1.5 * size))
        frames.append(np.maximum(np.asarray(picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))), np.asarray(glow)))
    return np.stack(frames)


def seats(rng: np.random.Generator, rows: int, columns: int) -> Shot:
    """Bleachers, shelves, windows, keyboards: rows of small things of about one size, in a few shades, with gaps."""
    ground = rng.uniform(20, 230, 3)
    picture = Image.new("RGB", (columns, rows), _colour(ground))
    pen = ImageDraw.Draw(picture)
    shades = [_colour(np.clip(ground + rng.normal(0, 70, 3), 0, 255)) for _ in range(int(rng.integers(2, 6)))]
    pitch = rng.uniform(0.06, 0.3) * rows
    wide = pitch * rng.uniform(0.25, 1.2)
    round_ones, filled = rng.random() < 0.4, rng.uniform(0.5, 0.95)
    for y in np.arange(0, rows, pitch):
        x = rng.uniform(-wide, 0)
        while x < columns:
            width, height = wide * rng.uniform(0.6, 1.3), pitch * rng.uniform(0.45, 0.8)
            if rng.random() < filled:
                draw = pen.ellipse if round_ones else pen.rectangle
                draw((x, y, x + width, y + height), fill=shades[int(rng.integers(len(shades)))])
            x += width + wide * rng.uniform(0.05, 0.4)
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.2))))[None]


def figures(rng: np.random.Generator, rows: int, columns: int) -> Shot:
    """People in clothes with stripes, piping and seams who sway before a plain wall."""
    wall = rng.uniform(30, 235, 3)
    bodies = [_Body(rng, rows, columns) for _ in range(int(rng.integers(2, 9)))]
    frames = []
    for t in range(_FIGURE_FRAMES):
        picture = Image.new("RGB", (columns, rows), _colour(wall))
        pen = ImageDraw.Draw(picture)
        for body in bodies:
            body.draw(pen, t)
        frames.append(np.asarray(picture.filter(ImageFilter.GaussianBlur(0.6))))
    return np.stack(frames)


class _Body:
    """A trunk whose outline and stripes bend and drift."""

    def __init__(self, rng: np.random.Generator, rows: int, columns: int) -> None:
        self._rows, self._x, self._width = rows, rng.uniform(0, columns), rng.uniform(0.12, 0.9) * rows
        self._drift, self._lean, self._bend = rng.normal(0, 0.012) * rows, rng.normal(0, 0.2), rng.uniform(0.01, 0.12) * self._width
        cloth: npt.NDArray[np.float64] = rng.uniform(0, 255, 3) * rng.choice([0.15, 0.5, 1.0])
        light_trim = rng.random() < 0.7
        self._cloth = _colour(cloth)
        self._trim = _colour(cloth + (255 - cloth) * rng.uniform(0.5, 1.0) if light_trim else cloth * 0.2)
        self._upright, self._horizontal = int(rng.integers(0, 5)), bool(rng.random() < 0.4)
        self._pitch, self._line = rng.uniform(0.02, 0.09) * rows, max(1, round(rng.uniform(0.004, 0.022) * rows))
        self._wave = rng.uniform(0.3, 1.2) * rows

    def draw(self, pen: ImageDraw.ImageDraw, t: int) -> None:
        heights = np.linspace(0, self._rows, 24)
        bend = self._bend * np.sin(heights / self._wave * 6 + 0.2 * t)
        middle = self._x + self._drift * t + self._lean * (heights - self._rows / 2) + bend
        left, right = middle - self._width / 2, middle + self._width / 2
        pen.polygon([*_points(left, heights), *_points(right[::-1], heights[::-1])], fill=self._cloth)
        for line in range(self._upright):
            across = left + (line + 0.5) / self._upright * self._width
            pen.line(_points(across, heights), fill=self._trim, width=self._line)
        if self._horizontal:
            for y in np.arange(0, self._rows, self._pitch):
                across = np.linspace(np.interp(y, heights, left), np.interp(y, heights, right), 9)
                pen.line(_points(across, y + self._bend * np.sin(np.linspace(0, 3, 9))), fill=self._trim, width=self._line)


def _points(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    return [*zip(x.tolist(), y.tolist(), strict=True)]


def _colour(levels: npt.NDArray[np.float64]) -> Colour:
    red, green, blue = (int(level) for level in levels)
    return red, green, blue


def _dim(colour: Colour, share: float) -> Colour:
    red, green, blue = (int(level * share) for level in colour)
    return red, green, blue
