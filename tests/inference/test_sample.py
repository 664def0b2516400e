"""The sample film shows what its truth says, and is the same film each time."""

import hashlib
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from inference.media.film import open_film
from tools import sample_film as sample
from tools.sample_film import Sample, make_sample


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("sample") / "sample.mp4")


@pytest.fixture(scope="module")
def drawn(made: Sample) -> npt.NDArray[np.float64]:
    """For each strip of the film, measure how far its letters' rows differ from the same footage without captions."""
    bare = sample._footage()  # the only place that has the pictures before captions
    position, picture = -1, None
    distances = []
    with open_film(made.path) as film:
        for strip, shown in enumerate(film.pictures()):
            while position < sample._film_index(strip):
                position, picture = position + 1, next(bare)
            assert picture is not None
            difference = np.abs(shown.astype(int) - picture)[made.crop.top : made.crop.bottom, made.crop.left : made.crop.right]
            distances.append(float(np.quantile(difference.max(axis=2), 0.99)))
    return np.array(distances)


def test_captions_are_drawn_where_the_truth_has_them_and_nowhere_else(made: Sample, drawn: npt.NDArray[np.float64]) -> None:
    """A caption is more than half visible in its first and last frames, and less than half in the empty ones beside them."""
    assert len(drawn) == made.frame_count
    captioned = np.zeros(made.frame_count, bool)
    for caption in made.captions:
        captioned[caption.first_frame : caption.last_frame + 1] = True
    for caption in made.captions:
        whole = np.median(drawn[caption.first_frame : caption.last_frame + 1])
        assert drawn[caption.first_frame : caption.last_frame + 1].min() > 0.55 * whole
        beside = [frame for frame in (caption.first_frame - 1, caption.last_frame + 1) if not captioned[frame]]
        assert (drawn[beside] < 0.45 * whole).all()
    fading = np.convolve(captioned, np.ones(5), "same") > 0  # two frames on either side
    assert drawn[~fading].max() < 0.25 * drawn[captioned].min(), "far from captions there is the codec's noise alone"


def test_neighbouring_captions_are_different_texts(made: Sample) -> None:
    """Captions ascend without overlap, and neighbours have different texts, so that every boundary is visible."""
    for before, after in pairwise(made.captions):
        assert before.first_frame <= before.last_frame < after.first_frame
        assert before.text != after.text
    assert made.captions[-1].last_frame < made.frame_count


def test_the_film_is_an_ordinary_one(made: Sample) -> None:
    """The sample film is H.264 in MP4 at 25 pictures a second, at least a minute long, and the crop box lies within it."""
    with av.open(made.path) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", Fraction(25))
        made.crop.check_within(stream.width, stream.height)
    assert made.frame_count >= 600


def test_the_same_film_is_made_again(made: Sample, tmp_path: Path) -> None:
    """Making the film twice gives the same bytes, captions and crop."""
    again = make_sample(tmp_path / "again.mp4")
    assert hashlib.sha256(again.path.read_bytes()).digest() == hashlib.sha256(made.path.read_bytes()).digest()
    assert (again.captions, again.crop) == (made.captions, made.crop)
