"""Reads the words of the demo's captions, if the extra ``text`` is installed."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

import click
import numpy as np

from cli.developing.demo_check import Finding
from cli.film.finding.film_run import UNREAD
from cli.shared.output import print_table
from core.captions import CaptionTrack
from core.film_time import clock
from core.types import FRAMES_PER_SECOND
from inference.finding.found import FoundCaption
from inference.finding.stills import Stills
from inference.finding.words import add_readings
from inference.media.film import open_film
from inference.reading.reader import open_reader
from tools.sample_film import Sample

_EVERY: Final = 2  # keep the strip of every second sample
_TRUE: Final = "in the film, if it differs"


@dataclass(frozen=True, slots=True)
class Words:
    """The words read from one caption, and the first and last frame that show it."""

    extent: tuple[int, int]
    text: str


def can_read() -> bool:
    """Whether RapidOCR is installed, as by ``make setup EXTRAS=text``."""
    return find_spec("rapidocr") is not None


def read_words(sample: Sample, track: CaptionTrack) -> list[Words]:
    """Read each caption once, from its sharpest strips."""
    box, stills, reader = sample.crop, Stills(), open_reader()
    with open_film(sample.path) as film:
        for number, picture in enumerate(film.pictures()):
            if number % _EVERY == 0:
                stills.add({number: np.ascontiguousarray(picture[box.top : box.bottom, box.left : box.right])})
    stills.extend(track.probabilities)
    readings = [(still, reader.read(still.picture)) for still in stills.take(None)]
    captions = [FoundCaption("", extent.start_seconds, extent.end_seconds, extent) for extent in track.captions]
    read = [add_readings([caption], readings)[0] for caption in captions]
    return [Words((caption.extent.first_frame, caption.extent.last_frame), caption.text or "") for caption in read]


def print_words(words: Sequence[Words], findings: Sequence[Finding]) -> None:
    """Print the words as read, the true ones where they differ, and how many captions were read without an error."""
    truth = {finding.detected: finding.text for finding in findings}
    rows, right = [], 0
    for caption in words:
        true = truth.get(caption.extent, "")
        same = _letters(caption.text) == _letters(true)
        right += same
        begins, ends = caption.extent[0] / FRAMES_PER_SECOND, (caption.extent[1] + 1) / FRAMES_PER_SECOND
        rows.append((f"{clock(begins)} - {clock(ends)}", _line(caption.text or UNREAD), "" if same else _line(true)))
    print_table(("at", "read", _TRUE), rows, folded=("read", _TRUE))
    click.echo(f"{right} of {len(words)} read without an error (spaces are not compared)")


def _letters(text: str) -> str:
    return "".join(text.split())


def _line(text: str) -> str:
    return text.replace("\n", " / ")
