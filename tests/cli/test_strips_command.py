"""``extents strips``: the frames around both ends of a caption, as one picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.film.runs.strip_sheet import INSIDE
from cli.film.runs.strips import frames_around
from core.captions import CaptionExtent, find_captions
from core.identity import LOCAL_TENANT
from storage.run_db import build_run_db
from tests.inference.conformance import load_case
from tests.storage.finished_runs import fixed_run

VIDEO = Path(__file__).parents[1] / "data" / "conformance" / "crop-right"
PAIRS = 39


@pytest.fixture
def run_db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of the small video, in its own folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.db"
    path.write_bytes(build_run_db(fixed_run(PAIRS, cropped_frames_version=1)))
    return path


def test_the_frames_are_those_of_the_caption(extents, run_db: Path) -> None:
    """Every strip in the picture is equal to the video's frame, and those with the caption have a coloured bar beside them."""
    caption = find_captions(fixed_run(PAIRS).probabilities).captions[0]
    done = extents("strips", run_db, "--caption", "1", "--around", "2", "--frames", VIDEO, "-o", "out/strips.png", "--json")
    assert done.status == 0, done.err
    output = json.loads(done.out)
    assert (output["first_frame"], output["last_frame"]) == (caption.first_frame, caption.last_frame)
    assert {caption.first_frame, caption.last_frame} <= set(output["frames"])
    (frames,) = load_case("crop-right").spans
    with Image.open("out/strips.png") as picture:
        sheet = np.asarray(picture)
    height, width = frames.shape[1:3]
    strips = sheet[:, -width - 4 : -4]
    tops = [
        top
        for top in range(len(sheet) - height + 1)
        if any(np.array_equal(strips[top : top + height], frames[f]) for f in output["frames"])
    ]
    assert len(tops) == len(output["frames"])
    for top, frame in zip(tops, output["frames"], strict=True):
        assert np.array_equal(strips[top : top + height], frames[frame])
        shows = caption.first_frame <= frame <= caption.last_frame
        assert bool((sheet[top, :10] == INSIDE).all(axis=1).any()) is shows


def test_frames_are_named_once_and_only_where_there_are_any() -> None:
    """Frames shared by both ends of a short caption are listed once, and there are fewer at the video's own ends."""
    assert frames_around(CaptionExtent(10, 11, 0.9, 0.9), 2, 100) == [8, 9, 10, 11, 12, 13]
    assert frames_around(CaptionExtent(0, 30, None, 0.9), 2, 32) == [0, 1, 29, 30, 31]


def test_a_caption_that_is_not_there_is_refused(extents, run_db: Path, tmp_path: Path) -> None:
    """A caption number that does not exist gives an error, and no file is written."""
    done = extents("strips", run_db, "--caption", "99", "--frames", VIDEO)
    assert (done.status, done.out) == (2, "")
    assert "the run has 1 caption; extents show lists them" in done.err
    assert not (tmp_path / "strips.png").exists()


def test_frames_that_are_not_found_are_asked_for(extents, tmp_path: Path) -> None:
    """For a local run whose frames are not beside it, the error names the option that says where they are."""
    path = tmp_path / "run.db"
    path.write_bytes(build_run_db(fixed_run(PAIRS, cropped_frames_version=1, tenant_id=LOCAL_TENANT)))
    done = extents("strips", path, "--caption", "1", "-o", tmp_path / "strips.png")
    assert (done.status, done.out) == (1, "")
    assert "none was found beside the run database; --frames names the folder of the cropped frames" in done.err


def test_another_videos_frames_are_refused(extents, tmp_path: Path) -> None:
    """Frames of another video are rejected, because their strips would mislead."""
    path = tmp_path / "run.db"
    path.write_bytes(build_run_db(fixed_run(60, cropped_frames_version=1)))
    done = extents("strips", path, "--caption", "1", "--frames", VIDEO, "-o", tmp_path / "strips.png")
    assert done.status == 1
    assert "another video" in done.err
