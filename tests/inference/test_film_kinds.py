"""Films in which too many captions, or spurious ones, are easily found."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from inference.engine.predictor import EngineOptions, Predictor
from inference.finding.found import captions_of
from inference.finding.track import Track, follow
from inference.finding.zone import Zone
from inference.media.box import CropBox
from inference.media.film import open_film
from inference.models.builtin import builtin_checkpoint_path
from inference.models.loading import load_predictor

WIDTH, HEIGHT, RATE = 640, 360, 20
ZONE = Zone("bottom", CropBox(0, 280, 640, 350))

Draw = Callable[[float], Image.Image]


def write_film(path: Path, seconds: float, draw: Draw) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(round(seconds * RATE)):
            frame = av.VideoFrame.from_image(draw(number / RATE))
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_predictor(builtin_checkpoint_path(), EngineOptions())


def track(path: Path, predictor: Predictor, zone: Zone = ZONE) -> Track:
    with open_film(path) as film:
        (result,) = follow(film, [zone], predictor)
    return result


def times(result: Track) -> list[tuple[float, float]]:
    return [(caption.start_seconds, caption.end_seconds) for caption in captions_of(result) if caption.doubt is None]


def test_words_that_are_lit_in_turn_are_one_caption_a_line(tmp_path: Path, predictor: Predictor) -> None:
    """If a box moves from word to word, and the word in it grows and shifts the others, each line is one caption, not each word."""
    lines = [["Nobody", "has", "seen", "it"], ["since", "the", "winter", "came"]]

    def draw(now: float) -> Image.Image:
        picture = Image.new("RGB", (WIDTH, HEIGHT), (10, 10, 30))
        canvas = ImageDraw.Draw(picture)
        words, lit = lines[int(now / 2.0)], int(now % 2.0 / 0.5)
        fonts = [ImageFont.load_default(40 if number == lit else 30) for number in range(len(words))]
        widths = [font.getlength(word) for font, word in zip(fonts, words, strict=True)]
        left = (WIDTH - sum(widths) - 20 * (len(words) - 1)) / 2
        for number, (word, font, width) in enumerate(zip(words, fonts, widths, strict=True)):
            if number == lit:
                canvas.rectangle((left - 5, 290, left + width + 5, 340), fill=(220, 240, 255))
            canvas.text((left, 315), word, (20, 110, 240) if number == lit else "white", font, anchor="lm")
            left += width + 20
        return picture

    result = track(write_film(tmp_path / "karaoke.mp4", 4.0, draw), predictor)
    assert len(result.going_on) >= 4  # without them there would be more captions
    assert times(result) == [(0.0, 2.0), (2.0, 4.0)]


def test_cuts_of_the_scene_are_seen_and_captions_are_none(tmp_path: Path, predictor: Predictor) -> None:
    """A cut is recognised by a change of most of the picture; an appearing caption and moving things are not cuts."""
    shades = np.random.default_rng(3).integers(30, 220, (3, HEIGHT // 20, WIDTH // 20, 3), np.uint8)

    def draw(now: float) -> Image.Image:
        picture = Image.fromarray(shades[int(now)]).resize((WIDTH, HEIGHT))
        canvas = ImageDraw.Draw(picture)
        canvas.ellipse((100 * now, 60, 100 * now + 60, 120), fill="red")
        if 0.5 <= now < 2.5:
            canvas.text(
                (320, 315), "We should have gone home", "white", ImageFont.load_default(28), "mm", stroke_width=2, stroke_fill="black"
            )
        return picture

    result = track(write_film(tmp_path / "cuts.mp4", 3.0, draw), predictor)
    assert result.cuts == [1.0, 2.0]
    assert [caption.between_cuts for caption in captions_of(result)] == [False]
