"""A crop box that is far too large is searched for letters before its size is checked."""

import json
from pathlib import Path

import pytest

from tests.inference.test_finding import SPEECH, speech, write_film

SIZE = (608, 1080)


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait film, taller than the largest strip, with captions near the bottom."""
    return write_film(tmp_path_factory.mktemp("portrait") / "film.mp4", 17, speech((304, 900)), size=SIZE)


def test_the_full_picture_may_be_taller_than_a_strip(extents, portrait: Path) -> None:
    """``--crop full`` finds the captions of a film that is taller than the largest strip, in a zone named by its own place."""
    done = extents("find", portrait, "--crop", "full", "--json")
    assert done.status == 0, done.err
    answer = json.loads(done.out)
    (zone,) = answer["zones"]
    assert zone["name"] == "bottom"
    assert 850 < zone["crop"][1] < zone["crop"][3] < 950
    assert len([caption for caption in answer["captions"] if caption["doubtful"] is None]) == len(SPEECH)
    assert "crop 0,0,608,1080 is far larger than its letters; looking at" in done.err


def test_a_box_beside_the_letters_stays_as_it_is(extents, portrait: Path) -> None:
    """A second box that touches no more than the margin of the letters in the first one is not narrowed to that."""
    (zone,) = json.loads(extents("find", portrait, "--crop", "full", "--json").out)["zones"]
    beside = [zone["crop"][2] - 3, 860, 600, 1060]
    done = extents("find", portrait, "--crop", "0,600,608,1080", "--crop", ",".join(map(str, beside)), "--json")
    assert done.status == 0, done.err
    assert beside in [other["crop"] for other in json.loads(done.out)["zones"]]


def test_a_box_too_large_without_letters_says_its_limit(extents, tmp_path: Path) -> None:
    """If nothing is found in a box that is larger than a strip, the error gives the limit."""
    film = write_film(tmp_path / "film.mp4", 3, [], size=SIZE)
    done = extents("find", film, "--crop", "full")
    assert (done.status, done.out) == (1, "")
    assert "crop 0,0,608,1080 is larger than the largest strip, 4096x1024 pixels" in done.err
