"""Times, sizes and subtitles read as people and players expect."""

from pathlib import Path

import pytest

from cli.film.subtitles import to_srt, to_vtt
from cli.shared.output import clock, program, size
from core.captions import CaptionExtent

CAPTIONS = [CaptionExtent(0, 12, None, 0.9), CaptionExtent(36_005, 36_019, 0.8, 0.7)]


@pytest.mark.parametrize(("seconds", "expected"), [(0, "0:00:00.0"), (59.96, "0:01:00.0"), (62.3, "0:01:02.3"), (3600.5, "1:00:00.5")])
def test_the_clock_shows_hours_to_tenths(seconds: float, expected: str) -> None:
    """Seconds carry into minutes and hours, also when rounding fills them up."""
    assert clock(seconds) == expected


@pytest.mark.parametrize(("count", "expected"), [(999, "999 bytes"), (1000, "1.0 kB"), (9_345_678, "9.3 MB"), (2_500_000_000, "2.5 GB")])
def test_sizes_have_one_decimal(count: int, expected: str) -> None:
    """A size is told in the unit that keeps it below 1000."""
    assert size(count) == expected


def test_srt_has_numbered_cues_with_comma_times() -> None:
    """Cues are apart by an empty line, and a caption ends where its last frame does."""
    assert to_srt(CAPTIONS) == ("1\n00:00:00,000 --> 00:00:01,300\nCaption 1\n\n2\n01:00:00,500 --> 01:00:02,000\nCaption 2\n")


def test_vtt_begins_with_its_name() -> None:
    """A WebVTT file has its header, then the same cues with points in their times."""
    assert to_vtt(CAPTIONS) == ("WEBVTT\n\n1\n00:00:00.000 --> 00:00:01.300\nCaption 1\n\n2\n01:00:00.500 --> 01:00:02.000\nCaption 2\n")


def test_no_captions_make_an_empty_file_of_the_form() -> None:
    """A film without captions gives a valid file without cues."""
    assert (to_srt([]), to_vtt([])) == ("", "WEBVTT\n")


@pytest.mark.parametrize(("called", "shown"), [("extents", "extents"), (".venv/bin/extents", ".venv/bin/extents"), ("pytest", "extents")])
def test_the_program_is_shown_as_it_can_be_called(monkeypatch: pytest.MonkeyPatch, called: str, shown: str) -> None:
    """What is printed to be typed next works where it is printed."""
    monkeypatch.setattr("sys.argv", [called])
    assert program() == shown


def test_the_program_is_shown_by_its_path_from_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unless the shell finds it by its name."""
    path = tmp_path / "bin" / "extents"
    path.parent.mkdir()
    path.touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(path)])
    monkeypatch.setenv("PATH", "")
    assert program() == "bin/extents"
    monkeypatch.setenv("PATH", str(path.parent))
    assert program() == "extents"
