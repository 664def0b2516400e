"""Draws the README's picture from the demo's film: a captioned frame, its strip, and the timeline of detected captions.

``make images`` writes it to docs/images.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import av
from PIL import Image, ImageDraw, ImageFont

from core.types import FRAMES_PER_SECOND
from tools.installed import installed_folder
from tools.sample_film import Sample, make_sample

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "images"

_WIDTH: Final = 1200
_MARGIN: Final = 24
_BACKGROUND, _TEXT, _MUTED, _BAR, _OTHER_BAR = "#ffffff", "#1f2933", "#52606d", "#3b82c4", "#7fb0de"
_SHOWN: Final = 0
"""Index of the caption whose frame is shown."""


def draw(film: Path, sample: Sample, captions: list[dict[str, Any]]) -> Image.Image:
    """The picture, 1200 pixels wide.

    Args:
        captions: as ``extents find --json`` prints them.
    """
    shown = sample.captions[_SHOWN]
    middle = (shown.first_frame + shown.last_frame) / 2 / FRAMES_PER_SECOND
    frame = _frame_at(film, middle)
    box = sample.crop
    strip = frame.crop((box.left, box.top, box.right, box.bottom))
    inner = _WIDTH - 2 * _MARGIN
    frame = frame.resize((inner, round(frame.height * inner / frame.width)), Image.Resampling.LANCZOS)
    frame = frame.crop((0, frame.height // 3, inner, frame.height))
    strip = strip.resize((inner, round(strip.height * inner / strip.width)), Image.Resampling.LANCZOS)
    picture = Image.new("RGB", (_WIDTH, frame.height + strip.height + 330), _BACKGROUND)
    pen, y = ImageDraw.Draw(picture), _MARGIN
    for title, image in (("a frame of the film", frame), ("the strip that Extents looks at, ten times a second", strip)):
        pen.text((_MARGIN, y), title, _MUTED, _font(20))
        picture.paste(image, (_MARGIN, y + 32))
        y += 32 + image.height + 20
    pen.text((_MARGIN, y), f"the {len(captions)} captions that it found", _MUTED, _font(20))
    _draw_timeline(pen, y + 40, sample.frame_count / FRAMES_PER_SECOND, captions, middle)
    return picture


def _draw_timeline(pen: ImageDraw.ImageDraw, top: int, seconds: float, captions: list[dict[str, Any]], marked: float) -> None:
    """Bars of the captions over the film's time, with the moment of the frame marked."""
    inner = _WIDTH - 2 * _MARGIN

    def x(second: float) -> float:
        return _MARGIN + second / seconds * inner

    for number, caption in enumerate(captions):
        box = (x(caption["start_seconds"]), top, x(caption["end_seconds"]) - 2, top + 56)
        pen.rectangle(box, _BAR if number % 2 == 0 else _OTHER_BAR)
    pen.line((x(marked), top - 8, x(marked), top + 64), _TEXT, 2)
    for second in range(0, int(seconds) + 1, 10):
        pen.line((x(second), top + 70, x(second), top + 78), _MUTED, 1)
        pen.text((x(second), top + 82), f"{second} s", _MUTED, _font(18), anchor="ma" if 0 < second < seconds - 2 else "la")


def _frame_at(film: Path, second: float) -> Image.Image:
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= second:
                return Image.fromarray(frame.to_ndarray(format="rgb24"))
    raise ValueError(f"{film} ends before {second} s")


def _font(size: int) -> ImageFont.FreeTypeFont:
    files = installed_folder("font_source_sans_pro", "font-source-sans-pro") / "files"
    return ImageFont.truetype(next(iter(sorted(files.rglob("*Regular*.ttf")))), size)


def main() -> None:
    """Make the film, find its captions, draw the picture."""
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        sample = make_sample(film)
        crop = ",".join(map(str, (sample.crop.left, sample.crop.top, sample.crop.right, sample.crop.bottom)))
        command = [sys.executable, "-m", "cli", "find", str(film), "--crop", crop, "--json"]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        FOLDER.mkdir(exist_ok=True)
        picture = draw(film, sample, result["captions"])
        picture.quantize(128).save(FOLDER / "demo.png", optimize=True)


if __name__ == "__main__":
    main()
