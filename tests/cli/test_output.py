"""Times, sizes and subtitles have the format that people and players expect."""

from pathlib import Path

import pytest

from cli.film.finding.film_run import FilmRun
from cli.film.finding.found_table import print_found
from cli.film.finding.subtitles import Cue, to_srt, to_vtt
from cli.shared.output import print_table, program, progress
from core.captions import CaptionExtent
from core.film_time import clock
from core.sizes import size
from inference.finding.found import FoundCaption
from inference.finding.zone import Zone
from inference.media.box import CropBox

CUES = [Cue(0, 1.3), Cue(3600.5, 3602)]


@pytest.mark.parametrize(("seconds", "expected"), [(0, "0:00:00.0"), (59.96, "0:01:00.0"), (62.3, "0:01:02.3"), (3600.5, "1:00:00.5")])
def test_the_clock_shows_hours_to_tenths(seconds: float, expected: str) -> None:
    """Seconds carry over into minutes and hours, even through rounding."""
    assert clock(seconds) == expected


@pytest.mark.parametrize(("count", "expected"), [(999, "999 bytes"), (1000, "1.0 kB"), (9_345_678, "9.3 MB"), (2_500_000_000, "2.5 GB")])
def test_sizes_have_one_decimal(count: int, expected: str) -> None:
    """A size is shown in the unit that keeps it below 1000."""
    assert size(count) == expected


def test_srt_has_numbered_cues_with_comma_times() -> None:
    """SRT cues are numbered, separated by an empty line, and have commas in their times."""
    assert to_srt(CUES) == ("1\n00:00:00,000 --> 00:00:01,300\nCaption 1\n\n2\n01:00:00,500 --> 01:00:02,000\nCaption 2\n")


def test_vtt_begins_with_its_name() -> None:
    """WebVTT has a header, then the same cues with points in their times."""
    assert to_vtt(CUES) == ("WEBVTT\n\n1\n00:00:00.000 --> 00:00:01.300\nCaption 1\n\n2\n01:00:00.500 --> 01:00:02.000\nCaption 2\n")


def test_words_and_notes_stand_where_players_take_them() -> None:
    """Words keep their lines; a note is in brackets in SRT and a comment in WebVTT."""
    cue = [Cue(0, 1, "Fish & chips\n\n<here>", "doubtful")]
    assert to_srt(cue) == "1\n00:00:00,000 --> 00:00:01,000\n[doubtful] Fish & chips\n<here>\n"
    assert to_vtt(cue) == "WEBVTT\n\nNOTE doubtful\n\n1\n00:00:00.000 --> 00:00:01.000\nFish &amp; chips\n&lt;here&gt;\n"


def test_progress_off_a_terminal_says_what_is_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal, progress is a line every ten seconds with the estimated time left."""
    now = [100.0]
    monkeypatch.setattr("cli.shared.output.time.monotonic", lambda: now[0])
    with progress("predicting", "pairs") as report:
        for done in (10, 20, 30):
            now[0] += 6
            report(done, 60)
    assert capsys.readouterr().err == "predicting: 20 of 60 pairs, about 0:00:24.0 left\n"


def test_no_captions_make_an_empty_file_of_the_form() -> None:
    """A film without captions gives a valid file without cues."""
    assert (to_srt([]), to_vtt([])) == ("", "WEBVTT\n")


@pytest.mark.parametrize(("called", "shown"), [("extents", "extents"), (".venv/bin/extents", ".venv/bin/extents"), ("pytest", "extents")])
def test_the_program_is_shown_as_it_can_be_called(monkeypatch: pytest.MonkeyPatch, called: str, shown: str) -> None:
    """Printed commands use the name or path with which the program was called."""
    monkeypatch.setattr("sys.argv", [called])
    assert program() == shown


def test_the_program_is_shown_by_its_path_from_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program outside PATH is shown by its path from the working directory."""
    path = tmp_path / "bin" / "extents"
    path.parent.mkdir()
    path.touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(path)])
    monkeypatch.setenv("PATH", "")
    assert program() == "bin/extents"
    monkeypatch.setenv("PATH", str(path.parent))
    assert program() == "extents"


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_a_table_folds_its_text_and_cuts_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int) -> None:
    """However narrow the terminal is, each value is printed whole, and text is folded; from 80 columns on, every line fits."""
    monkeypatch.setenv("COLUMNS", str(columns))
    text = "Somebody has left the door open, and nobody wants to close it."
    caption = CaptionExtent(71, 95, 0.9, 0.95, 0.93)
    zones = [Zone(name, CropBox(0, 0, 64, 32)) for name in ("top", "bottom")]
    print_found(FilmRun(Path("film.mp4"), zones, None, 100, 10.0, [FoundCaption("bottom", 7.12, 9.52, caption, "weak", text)], True))
    lines = capsys.readouterr().out.splitlines()
    headings, first = lines[:2]
    assert headings.split() == ["#", "start", "end", "seconds", "zone", "confidence", "text"]
    assert first.split()[:7] == ["1", "0:00:07.120", "0:00:09.520", "2.40", "bottom", "0.93", "doubtful"]
    place = headings.index("text")
    assert "".join(line[place:] for line in lines[1:]).replace(" ", "") == text.replace(" ", "")
    assert columns < 80 or max(map(len, lines)) <= columns


def test_a_table_in_a_pipe_has_a_line_for_each_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal no text is folded, however long it is."""
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(("at", "text"), [("0:00:01", "word " * 100), ("0:00:02", "end")], folded=("text",))
    assert len(capsys.readouterr().out.splitlines()) == 3
