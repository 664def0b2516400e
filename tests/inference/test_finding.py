"""Captions are found with only the film as input, each with its zone and its own times."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from core.types import Anchor
from inference.engine.predictor import EngineOptions, Predictor
from inference.finding.found import FoundCaption, captions_of
from inference.finding.search import search
from inference.finding.track import follow
from inference.finding.zone import parse_crop
from inference.media.film import open_film
from inference.models.builtin import builtin_checkpoint_path
from inference.models.loading import load_predictor

WIDTH, HEIGHT, RATE = 640, 360, 20
SPEECH = [
    "Nobody has seen the river",
    "since the winter came.",
    "We should have gone home",
    "a long time before that.",
    "It is never too late.",
]


@dataclass(frozen=True, slots=True)
class Text:
    """Words in the picture from ``start`` to ``end``, in seconds, centred at a place or starting at it."""

    start: float
    end: float
    words: str
    at: tuple[int, int]
    size: int = 26
    anchor: str = "mm"


def write_film(
    path: Path, seconds: float, texts: Sequence[Text], first_picture: float = 0.0, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Path:
    """Write a film of texts on a slowly moving background. If ``first_picture`` is not zero, sound precedes the pictures."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "ultrafast", "g": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if first_picture:
            sound = container.add_stream("aac", rate=16000, layout="mono")
            samples = av.AudioFrame.from_ndarray(np.zeros((1, int(16000 * seconds)), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 16000, 0
            container.mux([*sound.encode(samples), *sound.encode(None)])
        for number in range(int(seconds * RATE)):
            now = number / RATE
            waves = [90 + 40 * np.sin(x / (90 + 20 * c) + y / 70 + now / 2) for c in range(3)]
            picture = Image.fromarray(np.stack(waves, -1).astype(np.uint8))
            draw = ImageDraw.Draw(picture)
            for text in texts:
                if text.start <= now + 1e-9 < text.end:
                    font = ImageFont.load_default(text.size)
                    draw.text(text.at, text.words, "white", font, anchor=text.anchor, stroke_width=2, stroke_fill="black")
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = number + int(first_picture * RATE), Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def speech(at: tuple[int, int] = (320, 320), anchor: str = "mm", start: float = 1.0) -> list[Text]:
    return [Text(start + 3 * number, start + 3 * number + 2.35, words, at, anchor=anchor) for number, words in enumerate(SPEECH)]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_predictor(builtin_checkpoint_path(), EngineOptions())


def find(path: Path, predictor: Predictor) -> list[FoundCaption]:
    zones = search(path, predictor).zones
    with open_film(path) as film:
        tracks = follow(film, zones, predictor)
    return [caption for track in tracks for caption in captions_of(track) if caption.doubt is None]


def test_the_strip_the_times_and_a_logo_are_told_apart(tmp_path: Path, predictor: Predictor) -> None:
    """The zone holds little more than the captions' rows, times are those of the film's pictures, and a constant logo makes no zone."""
    path = write_film(tmp_path / "film.mp4", 17, [*speech(), Text(0, 99, "CHANNEL 5", (560, 40), 22)])
    sight = search(path, predictor)
    (zone,) = sight.zones
    assert (zone.name, zone.anchor) == ("bottom", Anchor.CENTER)
    assert 270 < zone.box.top < 310
    assert 330 < zone.box.bottom <= 360
    captions = find(path, predictor)
    assert [(c.start_seconds, c.end_seconds) for c in captions] == pytest.approx(
        np.array([(text.start, text.end) for text in speech()]), abs=1.01 / RATE
    )


def test_two_zones_that_overlap_in_time_are_both_kept(tmp_path: Path, predictor: Predictor) -> None:
    """Notes at the top and speech at the bottom are each found in a zone of their own, by name."""
    notes = [
        Text(2.0 + 5 * number, 5.0 + 5 * number, words, (320, 40), 24)
        for number, words in enumerate(("THREE YEARS LATER", "NEAR THE BORDER", "THE END"))
    ]
    path = write_film(tmp_path / "film.mp4", 18, [*speech(), *notes])
    captions = find(path, predictor)
    assert {caption.zone for caption in captions} == {"top", "bottom"}
    assert sum(caption.zone == "top" for caption in captions) == len(notes)
    assert sum(caption.zone == "bottom" for caption in captions) == len(SPEECH)


def test_captions_aligned_at_the_left_are_told_so(tmp_path: Path, predictor: Predictor) -> None:
    """If all lines begin at the same side, that side is the anchor."""
    path = write_film(tmp_path / "film.mp4", 17, speech((60, 320), "lm"))
    (zone,) = search(path, predictor).zones
    assert zone.anchor is Anchor.LEFT
    assert 30 < zone.box.left < 60


def test_a_film_without_captions_has_no_zone(tmp_path: Path, predictor: Predictor) -> None:
    """A moving background and a logo are not captions."""
    path = write_film(tmp_path / "film.mp4", 6, [Text(0, 99, "CHANNEL 5", (560, 40), 22)])
    assert search(path, predictor).zones == []


def test_a_caption_on_the_first_picture_begins_with_it(tmp_path: Path, predictor: Predictor) -> None:
    """A caption on the first picture starts with it, even if the pictures begin two seconds after the sound."""
    path = write_film(tmp_path / "film.mp4", 6, [Text(0, 2.5, SPEECH[0], (320, 320)), Text(3, 5, SPEECH[1], (320, 320))], first_picture=2.0)
    first, second = find(path, predictor)
    assert (first.start_seconds, first.end_seconds) == pytest.approx((2.0, 4.5), abs=1.01 / RATE)
    assert second.start_seconds == pytest.approx(5.0, abs=1.01 / RATE)


def test_crops_are_read_in_every_form() -> None:
    """A crop is given in pixels, in percent, by name, or with both units mixed."""
    assert str(parse_crop("0,600,1280,700").box(1280, 720)) == "0,600,1280,700"
    assert str(parse_crop("0%,85%,100%,95%").box(1280, 720)) == "0,612,1280,684"
    assert str(parse_crop("bottom-third").box(1920, 1080)) == "0,720,1920,1080"
    assert str(parse_crop("100,80%,1180,100%").box(1280, 720)) == "100,576,1180,720"
