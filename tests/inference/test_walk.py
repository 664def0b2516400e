"""Decoding in its own thread: errors reach the caller, and the thread ends with the caller's loop."""

import threading
from pathlib import Path

import numpy as np
import pytest

from core.errors import CorruptInputError, TransientError
from core.types import Layout
from inference.arrays import Frames, Probabilities
from inference.engine.predictor import EngineOptions
from inference.finding.track import follow
from inference.finding.walk import walk
from inference.finding.zone import Zone
from inference.media.box import CropBox
from inference.media.film import open_film
from tests.inference.test_broken_films import spoil, write_film

ZONE = Zone("bottom", CropBox(0, 16, 64, 48))


class OutOfMemory:
    """A predictor whose device is full."""

    options = EngineOptions()
    strip_size = (32, 512)

    def open_video(self, layout: Layout) -> None: ...

    def predict(self, video: None, frames: Frames) -> Probabilities:
        raise TransientError("cpu: out of memory with one pair a batch")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A minute of film: when the first batch is taken, the decoder has more than two batches left."""
    write_film(tmp_path / "film.mp4", pictures=600, rate=10)
    return tmp_path / "film.mp4"


def decoding() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "decode"]


def test_every_sample_is_in_one_batch(film: Path) -> None:
    """Batches follow each other without a gap up to the last sample, and no thread is left."""
    with open_film(film) as opened:
        batches = list(walk(opened, [ZONE], None, stills=True))
    assert [batch.first_sample for batch in batches] == list(np.cumsum([0, *(batch.samples for batch in batches[:-1])]))
    assert sum(batch.samples for batch in batches) == 600
    assert decoding() == []


def test_the_decoder_ends_when_the_network_fails(film: Path) -> None:
    """If the network fails, its error arrives while the film is still open, and the decoder's thread has ended."""
    with open_film(film) as opened:
        with pytest.raises(TransientError, match="out of memory"):
            follow(opened, [ZONE], OutOfMemory())
        assert decoding() == []


def test_an_error_of_the_decoder_is_raised_where_the_batches_are_taken(film: Path) -> None:
    """If most of a film cannot be decoded, its reader gets an error, not a short film."""
    spoil(film, *range(2, 600))
    with open_film(film, lambda message: None) as opened, pytest.raises(CorruptInputError, match="cannot be decoded after"):
        list(walk(opened, [ZONE], None, stills=False))
    assert decoding() == []
