"""``extents report``: a report of a run from a file or from the store, with strips of its boundaries."""

import asyncio
import base64
import io
import json
import re
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from PIL import Image

from core.runs import StoredRun
from core.settings import Settings
from storage.connect import object_keys, open_rows, open_store
from storage.run_db import build_run_db
from tests.inference.conformance import load_case
from tests.storage.admission_requests import WIDE, request
from tests.storage.finished_runs import finished_run, fixed_run

VIDEO = Path(__file__).parents[1] / "data" / "conformance" / "crop-right"
PAIRS = 39


@pytest.fixture
def run_db(tmp_path: Path) -> Path:
    path = tmp_path / "run.db"
    path.write_bytes(build_run_db(fixed_run(PAIRS, cropped_frames_version=1)))
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test outside the checkout, so that it neither writes there nor finds settings there."""
    monkeypatch.chdir(tmp_path)


def data_of(report: Path) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', report.read_text())[1])


def test_the_strips_are_those_of_the_boundary(extents, run_db, tmp_path):
    """Each embedded image shows its own frame, starting one frame before the boundary."""
    done = extents("report", run_db, "--frames", VIDEO, "-o", "out/report.html", "--strips", "3", "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out)["filmstrips"] == 3
    (frames,) = load_case("crop-right").spans
    strips = data_of(tmp_path / "out" / "report.html")["filmstrips"]
    assert len(strips) == 3
    for pair, strip in strips.items():
        assert strip["first_frame"] == max(0, int(pair) - 1)
        for place, uri in enumerate(strip["images"]):
            image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
            expected = Image.fromarray(frames[strip["first_frame"] + place])
            expected.thumbnail(image.size, Image.Resampling.LANCZOS)
            assert np.abs(np.asarray(image, float) - np.asarray(expected, float)).mean() < 4


def test_frames_beside_the_database_are_found(extents, tmp_path):
    """The frames are found without --frames if the database is where ``extents predict`` writes it."""
    folder = tmp_path / "film"
    (folder / "caption_frame_extents").mkdir(parents=True)
    for name in ("layout.db", "cropped_frames_v1"):
        (folder / name).symlink_to(VIDEO / name)
    path = folder / "caption_frame_extents" / "run.db"
    path.write_bytes(build_run_db(fixed_run(PAIRS, cropped_frames_version=1)))
    done = extents("report", path)
    assert done.status == 0, done.err
    assert len(data_of(tmp_path / "report.html")["filmstrips"]) == 12


def test_a_report_without_frames_says_why_there_are_no_strips(extents, run_db, tmp_path, monkeypatch):
    """If no frames can be read, the report is still written and says why it has no strips."""
    for name in ("WASABI_ACCESS_KEY", "WASABI_SECRET_KEY", "WASABI_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    done = extents("report", run_db)
    assert done.status == 0
    assert "--frames names no folder of cropped frames" in done.out
    assert "Without strips: the settings of the store are not set" in (tmp_path / "report.html").read_text()


def test_another_videos_frames_are_refused(extents, tmp_path):
    """Frames of another video are rejected, because their strips would mislead."""
    path = tmp_path / "run.db"
    path.write_bytes(build_run_db(fixed_run(60, cropped_frames_version=1)))
    done = extents("report", path, "--frames", VIDEO)
    assert done.status == 1
    assert "another video" in done.err
    assert not (tmp_path / "report.html").exists()


def test_the_picture_shows_the_captions(extents, run_db, tmp_path):
    """With only --png there is a picture and no report, and the picture shows captions."""
    done = extents("report", run_db, "--png", "timeline.png")
    assert done.status == 0, done.err
    assert not (tmp_path / "report.html").exists()
    assert "strips" not in done.out
    picture = np.asarray(Image.open(tmp_path / "timeline.png"))
    assert picture.shape[1] == 1600
    assert (picture == (0x5B, 0x8F, 0xC7)).all(axis=2).sum() > 100


@pytest.mark.parametrize("name", ["nowhere/run.db", "nothing.db"])
def test_a_missing_file_is_an_error(extents, name):
    """A path that does not exist gives an error, without a search in the store."""
    done = extents("report", name)
    assert (done.status, done.out) == (1, "")
    assert f"{name}: no such file" in done.err


def test_a_run_in_the_store_is_found_by_its_id(extents, namespace, tmp_path, monkeypatch):
    """For a run's id, row, database and chunks come from the services in the settings; an unknown id gives an error."""
    for name, value in namespace.env.items():
        monkeypatch.setenv(name, value)
    run_id = asyncio.run(_stored(Settings()))
    done = extents("report", str(run_id), "--strips", "2", "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out)["run_id"] == str(run_id)
    assert len(data_of(tmp_path / "report.html")["filmstrips"]) == 2

    done = extents("report", str(UUID(int=77)))
    assert done.status == 1
    assert "neither a file nor a finished run" in done.err


async def _stored(settings: Settings) -> UUID:
    """Store a finished run of the small video, with row, database and chunks."""
    submitted = request(cropped_frames_version=1)
    keys = object_keys(settings.keys)
    async with open_rows(settings.supabase) as rows, open_store(settings.wasabi) as store:
        answer = await rows.admit(submitted, WIDE)
        run = finished_run(
            PAIRS,
            run_id=submitted.run_id,
            attempt=answer.attempt,
            request_id=submitted.request_id,
            tenant_id=submitted.tenant_id,
            video_id=submitted.video_id,
            cropped_frames_version=1,
            model_version=submitted.model_version,
        )
        data = build_run_db(run)
        key = keys.run_db(run.tenant_id, run.video_id, 1, run.model_version, run.run_id)
        await store.put(key, data)
        frames = VIDEO / "cropped_frames_v1"
        for path in frames.glob("*/*.webm"):
            await store.put(keys.chunk(run.tenant_id, run.video_id, 1, path.relative_to(frames).as_posix()), path.read_bytes())
        await rows.complete_run(run, StoredRun(key, len(data), "0" * 64, run.attempt, False))
    return run.run_id
