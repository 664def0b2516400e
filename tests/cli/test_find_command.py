"""``extents find`` finds captions and their times, prints them in the requested form, and leaves no files behind."""

import json
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from tests.cli.processes import clean_environment, command
from tests.inference.test_broken_films import spoil, write_film
from tests.patience import HANGS_AFTER
from tests.signals import heed_signals
from tools.sample_film import Sample, make_sample

CROP: Final = "0,190,320,240"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("sample") / "sample.mp4")


def frames(answer: dict[str, Any]) -> list[tuple[int, int]]:
    return [(c["first_frame"], c["last_frame"]) for c in answer["captions"] if c["doubtful"] is None]


def test_every_caption_of_the_sample_is_found_exactly(extents, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The captions of the sample are found exactly, without a crop box, and no file is left."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    done = extents("find", sample.path, "--json")
    assert done.status == 0
    answer = json.loads(done.out)
    assert answer["frames"] == sample.frame_count
    assert frames(answer) == [(c.first_frame, c.last_frame) for c in sample.captions]
    (zone,) = answer["zones"]
    assert f"captions at the bottom, aligned center: --crop {','.join(map(str, zone['crop']))} of 640x360" in done.err
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]


def test_times_are_those_of_the_films_own_pictures(extents, sample: Sample) -> None:
    """Times differ from the captions' own by at most one picture at 25 pictures a second, which is finer than a sample."""
    done = extents("find", sample.path, "--crop", str(sample.crop), "--json")
    answer = json.loads(done.out)
    assert frames(answer) == [(c.first_frame, c.last_frame) for c in sample.captions]
    for caption, true in zip(answer["captions"], sample.captions, strict=True):
        assert caption["start_seconds"] == pytest.approx(true.first_frame * 25 // 10 / 25, abs=0.041)
        assert caption["end_seconds"] == pytest.approx((true.last_frame + 1) * 25 // 10 / 25, abs=0.041)


def test_a_box_that_is_far_too_large_is_narrowed(extents, sample: Sample) -> None:
    """The lowest third of the picture gives the same captions as their exact strip, and the message says where it looked."""
    done = extents("find", sample.path, "--crop", "bottom-third", "--json")
    assert frames(json.loads(done.out)) == [(c.first_frame, c.last_frame) for c in sample.captions]
    assert "is far larger than its letters; looking at" in done.err


def test_subtitles_carry_the_times_of_the_captions(extents, sample: Sample, tmp_path: Path) -> None:
    """SRT has the captions' times and the transcript's words, and a transcript of another length is rejected."""
    (tmp_path / "words.txt").write_text("\n".join(c.text.replace("\n", "\\n") for c in sample.captions) + "\n")
    done = extents("find", sample.path, "--crop", str(sample.crop), "--srt", "--transcript", tmp_path / "words.txt")
    assert done.status == 0
    cues = done.out.removesuffix("\n").split("\n\n")
    assert len(cues) == len(sample.captions)
    assert cues[0] == "1\n00:00:00,800 --> 00:00:03,800\nThe forest wakes up before we do."
    assert cues[2].endswith("Somebody has left the door open,\nand nobody wants to close it.")
    (tmp_path / "words.txt").write_text("only one line\n")
    short = extents("find", sample.path, "--crop", str(sample.crop), "--srt", "--transcript", tmp_path / "words.txt")
    assert (short.status, short.out) == (1, "")
    assert "the transcript has 1 line for 16 captions" in short.err


def test_stills_and_preview_are_pictures(extents, sample: Sample, tmp_path: Path) -> None:
    """Each caption gives a PNG of the strip's height, and the preview is a sheet of the film."""
    done = extents("find", sample.path, "--crop", str(sample.crop), "--stills", tmp_path / "stills", "--preview", tmp_path / "sheet.png")
    assert done.status == 0
    stills = sorted((tmp_path / "stills").iterdir())
    assert [path.name for path in stills] == [f"sample-{number:04}.png" for number in range(1, len(sample.captions) + 1)]
    with Image.open(stills[0]) as still, Image.open(tmp_path / "sheet.png") as sheet:
        assert still.size == (580, 80)
        assert sheet.size[0] > 1000


def test_the_name_of_the_file_chooses_the_form(extents, film: Path, tmp_path: Path) -> None:
    """The ending of the output file chooses its form, and an unknown ending is a usage error."""
    done = extents("find", film, "--crop", CROP, "-o", tmp_path / "film.vtt")
    assert (done.status, done.out) == (0, "")
    assert f"written to {tmp_path / 'film.vtt'}" in done.err
    assert (tmp_path / "film.vtt").read_text().startswith("WEBVTT\n")
    extents("find", film, "--crop", CROP, "-o", tmp_path / "film.json")
    assert json.loads((tmp_path / "film.json").read_text())["frames"] == 20
    unknown = extents("find", film, "--crop", CROP, "-o", tmp_path / "film.txt")
    assert unknown.status == 2
    assert "add --srt, --vtt or --json" in unknown.err


def test_several_films_are_written_into_a_folder(extents, film: Path, tmp_path: Path) -> None:
    """Each film gives one file; a film that cannot be read does not stop the others, and the status is 1."""
    (tmp_path / "broken.mp4").touch()
    done = extents("find", film, tmp_path / "broken.mp4", "--crop", CROP, "-o", tmp_path / "out", "--vtt", "--jobs", "2")
    assert done.status == 1
    assert "broken.mp4: the file is empty" in done.err
    assert "1 of 2 films could not be read" in done.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["film.vtt"]


def test_a_film_without_captions_says_so(extents, film: Path) -> None:
    """A film without captions prints none, and a message says so."""
    done = extents("find", film)
    assert (done.status, done.out) == (0, "")
    assert "no captions seen in" in done.err
    assert "0 captions in 2.0 s of film" in done.err


def test_a_reader_without_text_is_refused(extents, film: Path) -> None:
    """A reader is only chosen for --text, so alone it is rejected."""
    done = extents("find", film, "--reader", "rapidocr", "--srt")
    assert (done.status, done.out) == (2, "")
    assert "add --text" in done.err


def test_json_of_films_can_be_loaded(extents, film: Path, tmp_path: Path) -> None:
    """JSON of several films is an array with each film once."""
    other = tmp_path / "other.mp4"
    shutil.copy(film, other)
    done = extents("find", film, other, film, "--crop", CROP, "--json")
    assert [answer["video"] for answer in json.loads(done.out)] == [str(film), str(other)]
    assert "is named twice" in done.err


def test_one_form_a_call(extents, film: Path) -> None:
    """Two forms at once are rejected."""
    done = extents("find", film, "--srt", "--json")
    assert (done.status, done.out) == (2, "")
    assert "--srt and --json exclude each other" in done.err


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_what_to_do_with_doubtful_captions_is_asked_for_subtitles_only(extents, film: Path, form: list[str]) -> None:
    """``--doubtful`` is refused where it would change nothing, with what to add."""
    done = extents("find", film, *form, "--doubtful", "keep")
    assert (done.status, done.out) == (2, "")
    assert "--doubtful is about subtitles" in done.err
    assert "add --srt or --vtt" in done.err


def test_a_table_is_for_people(extents, sample: Sample, film: Path) -> None:
    """Without a form, captions are printed as a table with a row each, and the count as a message."""
    done = extents("find", sample.path, "--crop", str(sample.crop))
    assert done.status == 0
    headings, *rows = done.out.splitlines()
    assert headings.split() == ["#", "start", "end", "seconds", "confidence"]
    assert len(rows) == len(sample.captions)
    assert rows[0].split()[:4] == ["1", "0:00:00.800", "0:00:03.800", "3.00"]
    assert f"16 captions in {sample.frame_count / 10:.1f} s of film" in done.err


def test_tables_of_several_films_name_them(extents, film: Path, tmp_path: Path) -> None:
    """Tables of several films each have the film's name above them; subtitles of several films need a folder."""
    other = tmp_path / "other.mp4"
    shutil.copy(film, other)
    done = extents("find", film, other, "--crop", CROP)
    names = [str(film), str(other)]
    assert (done.status, [line for line in done.out.splitlines() if line in names]) == (0, names)
    mixed = extents("find", film, other, "--crop", CROP, "--srt")
    assert (mixed.status, mixed.out) == (2, "")
    assert "add -o DIR" in mixed.err


def test_no_film_is_written_over_and_no_result_either(extents, film: Path, tmp_path: Path) -> None:
    """Films of the same name, or an output over a film, are rejected before any work."""
    same = tmp_path / "other" / film.with_suffix(".mkv").name
    same.parent.mkdir()
    shutil.copy(film, same)
    for options in (["-o", tmp_path / "out"], ["--stills", tmp_path / "out"]):
        refused = extents("find", film, same, "--crop", CROP, *options)
        assert refused.status == 2
        assert "have the same name" in refused.err
    before = same.read_bytes()
    refused = extents("find", same, "--crop", CROP, "--srt", "-o", same)
    assert (refused.status, same.read_bytes() == before) == (2, True)
    assert "would be written over the film" in refused.err


def test_a_transcript_that_is_no_text_is_refused_before_the_work(extents, film: Path, tmp_path: Path) -> None:
    """A transcript that is not UTF-8 is rejected with the place of the wrong byte."""
    (tmp_path / "words.txt").write_bytes(b"caf\xe9\n")
    done = extents("find", film, "--crop", CROP, "--transcript", tmp_path / "words.txt")
    assert (done.status, done.out) == (1, "")
    assert "words.txt: not UTF-8 text (invalid continuation byte at byte 3)" in done.err


def test_warnings_never_reach_the_results(extents, tmp_path: Path) -> None:
    """A damaged packet gives a warning from ``find`` and ``encode``, while standard output stays pure JSON."""
    film = tmp_path / "film.mp4"
    write_film(film)
    spoil(film, 33)
    for arguments in (["find", film, "--crop", "0,0,64,48"], ["encode", film, "--crop", "0,0,64,48", "--out", tmp_path / "out"]):
        done = extents(*arguments, "--json")
        assert done.status == 0, done.err
        json.loads(done.out)
        assert "a packet near 0:00:01." in done.err


def test_a_pipe_is_read_where_a_box_is_given(extents, tmp_path: Path) -> None:
    """A pipe is read if a crop is given; without one the command fails at once, because a pipe can be read only once."""
    write_film(tmp_path / "film.mkv")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = extents("find", pipe)
    assert done.status == 1
    assert "a pipe can be read only once" in done.err
    writer = threading.Thread(target=lambda: pipe.write_bytes((tmp_path / "film.mkv").read_bytes()))
    writer.start()
    done = extents("find", pipe, "--crop", "0,0,64,48", "--json")
    writer.join()
    assert done.status == 0, done.err
    assert json.loads(done.out)["frames"] == 20


def test_ctrl_c_ends_the_wait_for_a_pipe(tmp_path: Path) -> None:
    """If it is interrupted while it waits for a pipe's writer, the command ends with status 130 and without a traceback."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        command("find", pipe, "--crop", "0,0,64,48"),
        cwd=tmp_path,
        env=clean_environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_signals,
    )
    assert process.stderr is not None
    try:
        assert "waiting for a program that writes a film to it" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=HANGS_AFTER)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, rest.strip()) == (130, "")


@pytest.mark.parametrize(("crop", "status"), [("0,190,321,240", 1), ("190,240", 2), ("0,10.5,100,40", 2)])
def test_a_wrong_crop_prints_no_captions(extents, film: Path, crop: str, status: int) -> None:
    """A wrong crop prints nothing on standard output."""
    done = extents("find", film, "--crop", crop, "--srt")
    assert (done.status, done.out) == (status, "")
    assert done.err


def test_a_preview_has_the_format_of_its_name(extents, film: Path, tmp_path: Path) -> None:
    """A preview is a PNG or JPEG as its extension says, and any other name is rejected before the work."""
    done = extents("crop", film, "--preview", tmp_path / "sheet.JPG")
    assert done.status == 0
    with Image.open(tmp_path / "sheet.JPG") as sheet:
        assert sheet.format == "JPEG"
    for subcommand, name in (("crop", "sheet"), ("find", "sheet.gif")):
        refused = extents(subcommand, film, "--preview", tmp_path / name)
        assert (refused.status, refused.out) == (2, "")
        assert "expected one that ends in .png or .jpg or .jpeg" in refused.err
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.JPG"]


def test_crop_says_where_captions_are(extents, sample: Sample, tmp_path: Path) -> None:
    """``extents crop`` prints the zone that find would use as a box for --crop, and draws it on a sheet."""
    done = extents("crop", sample.path, "--json", "--preview", tmp_path / "sheet.png")
    (zone,) = json.loads(done.out)["zones"]
    left, top, right, bottom = zone["crop"]
    assert (left < sample.crop.left + 60, right > sample.crop.right - 60) == (True, True)
    assert max(abs(top - sample.crop.top), abs(bottom - sample.crop.bottom)) < 20
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
