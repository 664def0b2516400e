"""``extents evaluate`` measures checkpoints on videos whose captions are known."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.weights import build_content
from cli.film.evaluating.truth import read_truth
from core.errors import CorruptInputError
from inference.models.builtin import builtin_model_version
from tests.cli.test_predict_command import SHORT, SPANS, captions_of
from tools.sample_film import Sample, make_sample

SRT = "1\n00:00:01,000 --> 00:00:02,500\nOne\n\n2\n00:00:02,500 --> 00:00:04,040\nTwo\nlines\n"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("sample") / "sample.mp4")


def write_srt(path: Path, captions: list[tuple[int, int]]) -> Path:
    """Write captions of these frames, at 10 Hz."""

    def time(frame: int) -> str:
        return f"00:{frame // 600:02}:{frame // 10 % 60:02},{frame % 10}00"

    cues = [f"{number}\n{time(first)} --> {time(last + 1)}\nCaption {number}\n" for number, (first, last) in enumerate(captions, start=1)]
    path.write_text("\n".join(cues))
    return path


def test_the_builtin_model_finds_every_caption_of_the_sample(extents, sample: Sample, tmp_path: Path) -> None:
    """From the film and its subtitles, all captions are found exactly, and the status is 0 with every threshold at 1."""
    truth = write_srt(tmp_path / "truth.srt", [(caption.first_frame, caption.last_frame) for caption in sample.captions])
    least = [
        part for name in ("caption-precision", "caption-recall", "boundary-precision", "boundary-recall") for part in (f"--min-{name}", 1)
    ]
    crop = ",".join(map(str, (sample.crop.left, sample.crop.top, sample.crop.right, sample.crop.bottom)))
    done = extents("evaluate", sample.path, "--crop", crop, "--truth", truth, "--json", *least)
    assert done.status == 0, done.err
    answer = json.loads(done.out)
    (checkpoint,) = answer["checkpoints"]
    assert (answer["frames"], answer["tolerance_frames"]) == (sample.frame_count, 1)
    assert (checkpoint["checkpoint"], checkpoint["model_version"]) == ("builtin", builtin_model_version())
    assert checkpoint["captions_exact"] == checkpoint["captions_true"] == len(sample.captions)
    assert (checkpoint["missed"], checkpoint["wrong"]) == ([], [])


def test_checkpoints_are_shown_side_by_side(extents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints of two architectures are shown side by side. One that misses captions is named, and its captions are listed."""
    monkeypatch.setenv("COLUMNS", "400")  # for a path of any length
    torch.save(build_content(), tmp_path / "other.pt")
    truth = write_srt(tmp_path / "truth.srt", captions_of(SHORT))
    models = ("--checkpoint", "builtin", "--checkpoint", tmp_path / "other.pt")
    done = extents("evaluate", SHORT, "--truth", truth, *models, "--min-caption-recall", 0.9)
    assert done.status == 1
    lines = done.out.splitlines()
    assert lines[0].split() == ["builtin", str(tmp_path / "other.pt")]
    assert next(line.split() for line in lines if line.startswith("caption recall"))[2] == "100.00%"
    assert f"{tmp_path / 'other.pt'}: caption recall is 0.0000, below 0.9" in done.err
    assert f"{tmp_path / 'other.pt'}: missed and wrong captions" in lines


def test_truth_that_is_wrong_lowers_the_figures(extents, tmp_path: Path) -> None:
    """A caption that the truth lacks is wrong, one that only it has is missed, and one that ends elsewhere is both."""
    true = captions_of(SPANS)
    moved = (true[1][0], true[1][1] - 4)
    truth = write_srt(tmp_path / "truth.srt", [moved, *true[2:]])
    (checkpoint,) = json.loads(extents("evaluate", SPANS, "--truth", truth, "--json").out)["checkpoints"]
    assert checkpoint["missed"] == [list(moved)]
    assert checkpoint["wrong"] == [list(true[0]), list(true[1])]


def test_every_form_of_truth_is_read_alike(tmp_path: Path) -> None:
    """SubRip, WebVTT with notes and settings, and the JSON of ``extents find`` give the same truth, without doubtful captions."""
    vtt = "WEBVTT\n\nNOTE made by hand\n\n00:01.000 --> 00:02.500 align:start\nOne\n\n00:02.500 --> 00:04.040\nTwo\nlines\n"
    listed = [
        {"start_seconds": 1.0, "end_seconds": 2.5, "text": "One", "doubtful": None},
        {"start_seconds": 2.5, "end_seconds": 4.04, "text": "Two\nlines"},
        {"start_seconds": 9, "end_seconds": 10, "text": "grass", "doubtful": "confidence 0.1"},
    ]
    for name, text in {"a.srt": SRT, "a.vtt": vtt, "a.json": json.dumps({"captions": listed}), "b.json": json.dumps(listed)}.items():
        (tmp_path / name).write_text(text)
        truth = read_truth(tmp_path / name)
        assert [(caption.start_seconds, caption.end_seconds, caption.text) for caption in truth.captions] == [
            (1.0, 2.5, "One"),
            (2.5, 4.04, "Two\nlines"),
        ]
        assert truth.extents(100) == [(10, 24), (25, 40)]
        assert truth.extents(30) == [(10, 24), (25, 29)]


def test_captions_of_the_truth_that_overlap_are_set_apart(tmp_path: Path) -> None:
    """Two lines with the same time are one caption, and a caption ends where the next one starts; messages report both."""
    cue = "{}\n00:00:{},000 --> 00:00:{},000\nwords\n\n"
    (tmp_path / "truth.srt").write_text(
        cue.format(1, "01", "02") + cue.format(2, "01", "02") + cue.format(3, "03", "05") + cue.format(4, "04", "06")
    )
    truth = read_truth(tmp_path / "truth.srt")
    assert [(caption.start_seconds, caption.end_seconds) for caption in truth.captions] == [(1, 2), (3, 4), (4, 6)]
    assert len(truth.remarks) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n00:00:01,000 -> 00:00:02,000\nOne\n", "no captions"),
        ("1\n1 s --> 2 s\nOne\n", "line 2"),
        ("1\n00:00:05,000 --> 00:00:02,000\nOne\n", "not after its start"),
        ('{"captions": [{"start": 1}]}', "caption 0 has no numbers"),
        ('{"captions": 3}', "no list of captions"),
        ("[1, ", "not JSON"),
    ],
)
def test_a_truth_that_cannot_be_read_says_where(tmp_path: Path, text: str, message: str) -> None:
    """The error gives the line, or the position in the list, and what was expected."""
    (tmp_path / "truth").write_text(text)
    with pytest.raises(CorruptInputError, match=message):
        read_truth(tmp_path / "truth")


def test_mistakes_in_the_call_are_explained(extents, tmp_path: Path) -> None:
    """A crop for a folder, and a checkpoint that is neither a file nor a possible version, give an error that says what is wrong."""
    truth = write_srt(tmp_path / "truth.srt", [(1, 2)])
    assert "go with a film" in extents("evaluate", SHORT, "--truth", truth, "--crop", "full").err
    done = extents("evaluate", SHORT, "--truth", truth, "--checkpoint", "missing.pt")
    assert (done.status, "missing.pt: no such file" in done.err) == (2, True)
