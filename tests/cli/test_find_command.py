"""``extents find`` prints a film's captions, and leaves nothing behind."""

import json
from pathlib import Path

import pytest

from tools.sample_film import Sample, make_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("sample") / "sample.mp4")


def test_every_caption_of_the_sample_is_found_exactly(extents, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the film alone come the first and last frames that the captions were burnt into; no file is left anywhere."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    done = extents("find", sample.path, "--crop", str(sample.crop), "--anchor", sample.anchor, "--json")
    assert (done.status, done.err) == (0, "")
    output = json.loads(done.out)
    assert output["frames"] == sample.frame_count
    assert [(c["first_frame"], c["last_frame"]) for c in output["captions"]] == [(c.first_frame, c.last_frame) for c in sample.captions]
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]


def test_subtitles_carry_the_times_of_the_captions(extents, sample: Sample) -> None:
    """SRT on standard output is SRT and nothing else: a cue for each caption, from its first frame to its last one's end."""
    done = extents("find", sample.path, "--crop", str(sample.crop), "--srt")
    assert done.status == 0
    cues = done.out.removesuffix("\n").split("\n\n")
    assert len(cues) == len(sample.captions)
    assert cues[0] == "1\n00:00:00,800 --> 00:00:03,800\nCaption 1"


def test_the_name_of_the_file_chooses_the_form(extents, film: Path, tmp_path: Path) -> None:
    """-o film.vtt writes WebVTT there and leaves standard output to others; an unknown ending is a matter of usage."""
    done = extents("find", film, "--crop", "0,190,320,240", "-o", tmp_path / "film.vtt")
    assert (done.status, done.out) == (0, "")
    assert f"written to {tmp_path / 'film.vtt'}" in done.err
    assert (tmp_path / "film.vtt").read_text().startswith("WEBVTT\n")
    extents("find", film, "--crop", "0,190,320,240", "-o", tmp_path / "film.json")
    assert json.loads((tmp_path / "film.json").read_text())["frames"] == 20
    unknown = extents("find", film, "--crop", "0,190,320,240", "-o", tmp_path / "film.txt")
    assert unknown.status == 2
    assert "add --srt, --vtt or --json" in unknown.err


def test_a_table_is_for_people(extents, film: Path) -> None:
    """Without a form the captions come as a table under headings, and the count as a remark."""
    done = extents("find", film, "--crop", "0,190,320,240")
    assert done.status == 0
    assert done.out.split()[:6] == ["#", "start", "end", "seconds", "frames", "confidence"]
    assert "in 2.0 s of film" in done.err


@pytest.mark.parametrize(("crop", "status"), [("0,190,321,240", 1), ("190,240", 2)])
def test_a_wrong_crop_prints_no_captions(extents, film: Path, crop: str, status: int) -> None:
    """Nothing reaches standard output, where subtitles would have gone."""
    done = extents("find", film, "--crop", crop, "--srt")
    assert (done.status, done.out) == (status, "")
    assert done.err
