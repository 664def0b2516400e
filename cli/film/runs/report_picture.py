"""A picture of a run's timeline, for a message or a document: what the report shows of the whole film, without a browser."""

from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cli.shared.pictures import png
from core.counts import counted
from core.film_time import clock
from core.types import FRAMES_PER_SECOND
from pages.report.attention import boundaries, read_forward
from storage.run_db_reader import RunDatabase

WIDTH: Final = 1600
ROW_SECONDS: Final = 120.0
"""Seconds of film in a row: a caption of one second is 13 pixels wide."""

MAX_ROWS: Final = 30
"""An hour; in a longer film a row shows more."""

_MARGIN, _ROW, _LANE = 20, 132, 34
_GROUND, _TEXT, _QUIET, _LINE = "#ffffff", "#16202a", "#52606d", "#d5dbe1"
_CAPTIONS = ("#5b8fc7", "#86b0dd")
_GRADES = ((0.9, "#00795a"), (0.6, "#d88a00"), (0.0, "#c02f1d"))
_TICKS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


def draw_timeline(run: RunDatabase) -> bytes:
    """The film in rows, as a PNG: captions, and each boundary's confidence forward (up) and backward (down)."""
    frames = run.pairs + 1
    rows = min(MAX_ROWS, max(1, -(-frames // int(ROW_SECONDS * FRAMES_PER_SECOND))))
    frames_per_row = -(-frames // rows)
    image = Image.new("RGB", (WIDTH, 46 + rows * _ROW + _MARGIN), _GROUND)
    draw = ImageDraw.Draw(image)
    captions = counted(len(run.track.captions), "caption")
    title = f"Run {run.run_id}: {captions} in {clock(frames / FRAMES_PER_SECOND)}, model {run.model_version}"
    draw.text((_MARGIN, 14), title, _TEXT, _font(16))
    read = read_forward(run)
    confidence = np.take_along_axis(read, run.track.labels[:, None, None], axis=2)[:, :, 0]  # (pairs, 2)
    for row in range(rows):
        _Row(draw, 46 + row * _ROW, row * frames_per_row, frames_per_row, frames).draw(run, confidence)
    return png(image, optimize=True)


class _Row:
    def __init__(self, draw: ImageDraw.ImageDraw, top: int, first: int, length: int, frames: int) -> None:
        self._draw, self._top, self._first, self._length = draw, top, first, length
        self._last = min(first + length, frames)
        self._scale = (WIDTH - 2 * _MARGIN) / length

    def draw(self, run: RunDatabase, confidence: np.ndarray) -> None:
        self._axis()
        for number, caption in enumerate(run.track.captions):
            if caption.last_frame >= self._first and caption.first_frame < self._last:
                left, right = self._x(max(caption.first_frame, self._first)), self._x(min(caption.last_frame + 1, self._last))
                self._draw.rectangle((left, self._top + 18, max(left, right - 2), self._top + 38), _CAPTIONS[number % 2])
        middle = self._top + 40 + _LANE
        self._draw.line((_MARGIN, middle, self._x(self._last), middle), _LINE)
        for pair in boundaries(run.track):
            if self._first <= pair + 1 < self._last:
                for direction, sign in ((0, -1), (1, 1)):
                    value = float(confidence[pair, direction])
                    ends = sorted((middle + sign, middle + sign * (1 + value * (_LANE - 2))))
                    at = self._x(pair + 1)
                    self._draw.rectangle((at - 1, ends[0], at, ends[1]), next(colour for least, colour in _GRADES if value >= least))
        for issue in run.track.issues:
            if self._first <= issue.frame_index < self._last:
                at, y = self._x(issue.frame_index + 1), middle + _LANE + 8
                self._draw.polygon(((at, y - 5), (at + 5, y + 4), (at - 5, y + 4)), _GRADES[-1][1])

    def _x(self, frame: int) -> float:
        return _MARGIN + (frame - self._first) * self._scale

    def _axis(self) -> None:
        seconds = self._length / FRAMES_PER_SECOND
        step = next((tick for tick in _TICKS if tick / seconds * WIDTH > 80), 3600)
        for tick in range(-(-self._first // (step * FRAMES_PER_SECOND)), self._last // (step * FRAMES_PER_SECOND) + 1):
            at = self._x(tick * step * FRAMES_PER_SECOND)
            self._draw.line((at, self._top + 14, at, self._top + _ROW - 18), _LINE)
            self._draw.text((at + 3, self._top), clock(tick * step)[:-2], _QUIET, _font(11))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
