"""Strips for measuring: a slowly moving picture with a caption that changes twice a second. Needs only NumPy and Pillow."""

import io
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core.types import Anchor, Layout
from inference.engine.predictor import Frames

_WORDS = ["the", "river", "runs", "under", "seven", "bridges", "before", "anyone", "asks", "where", "it", "came", "from"]


def synthetic_strips(height: int, width: int, count: int) -> Frames:
    """uint8 (count, height, width, 3) RGB."""
    y, x = np.mgrid[:height, :width]
    strips = np.empty((count, height, width, 3), np.uint8)
    for i in range(count):
        waves = [np.sin(x / (17 + 9 * channel) + y / 11 + i / 7) for channel in range(3)]
        picture = Image.fromarray((96 + 64 * np.stack(waves, axis=-1)).astype(np.uint8))
        words = " ".join(_WORDS[(i // 5 + k) % len(_WORDS)] for k in range(4))
        font = _font(max(8, height * 2 // 3))
        ImageDraw.Draw(picture).text((width // 2, height // 2), words, "white", font, anchor="mm", stroke_width=1, stroke_fill="black")
        strips[i] = np.asarray(picture)
    return strips


def synthetic_layout(height: int, width: int) -> Layout:
    """Return a layout with a centred strip at the bottom of a 16:9 film. One of its strips serves as OCR visualisation."""
    image = io.BytesIO()
    Image.fromarray(synthetic_strips(height, width, 1)[0]).save(image, "PNG")
    frame_height = width * 9 // 16
    return Layout(Anchor.CENTER, 0, frame_height - 2 * height, width, frame_height - height, width, frame_height, image.getvalue())


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
