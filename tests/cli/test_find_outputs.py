"""``extents find`` writes what its options say, refuses options that contradict each other, and says what it wrote."""

import json
from pathlib import Path
from typing import Final

import pytest
from click import UsageError

from cli.film.finding.film_run import UNREAD, FilmRun
from cli.film.finding.forms import Doubtful, cues, written
from cli.film.finding.found_table import print_found
from cli.film.finding.outputs import OutputParameter, choose_form, distinct, plan_outputs
from cli.film.finding.results import Results
from cli.film.finding.summary import advice, summary
from core.captions import CaptionExtent
from inference.finding.found import FoundCaption
from inference.finding.zone import Zone
from inference.media.box import CropBox

FILM: Final = Path("film.mp4")
ZONE: Final = Zone("bottom", CropBox(0, 0, 64, 32))


def caption(text: str | None = None, doubt: str | None = None) -> FoundCaption:
    return FoundCaption("bottom", 1.0, 2.0, CaptionExtent(10, 19, 0.9, 0.9, 0.9), doubt, text)


def run_of(*captions: FoundCaption, has_words: bool = False) -> FilmRun:
    return FilmRun(FILM, [ZONE], None, 102, 10.2, list(captions), has_words)


def results_of(form: str | None, several: bool = False, outputs: dict[Path, Path] | None = None) -> Results:
    return Results(form, Doubtful.OMIT, "model-1", outputs or {}, several, is_crop_given=True)


@pytest.mark.parametrize(
    ("flags", "output", "films", "expected"),
    [
        ([], None, 1, None),
        (["json"], None, 2, "json"),
        ([], "film.VTT", 1, "vtt"),
        (["srt"], "film.txt", 1, "srt"),
        ([], "new/", 1, "srt"),
        (["vtt"], "new", 2, "vtt"),
        ([], "new.json/", 2, "srt"),
    ],
)
def test_the_format_follows_from_options_and_names(flags: list[str], output: str | None, films: int, expected: str | None) -> None:
    """An option chooses the format, else the file's extension does; a folder has subtitles, and no format is a table."""
    assert choose_form(flags, None if output is None else OutputParameter().convert(output, None, None), films) == expected


@pytest.mark.parametrize(
    ("flags", "output", "films", "message"),
    [
        (["srt"], "a.vtt", 1, "-o a.vtt and --srt name two formats: leave --srt out, or write -o a.srt"),
        (["json"], "a.srt", 1, "leave --json out, or write -o a.json"),
        ([], "both.json", 2, "-o both.json names a file, but there are 2 films: name a folder, such as -o both/ --json"),
        (["vtt"], "both.txt", 2, "name a folder, such as -o both/ --vtt"),
        ([], "film.txt", 1, "add --srt, --vtt or --json, or end a folder's name with a slash"),
        (["srt", "json"], None, 1, "--srt and --json exclude each other"),
    ],
)
def test_a_format_that_would_be_ignored_is_refused(flags: list[str], output: str | None, films: int, message: str) -> None:
    """An extension that contradicts the format or the number of films is refused, with what to write instead."""
    with pytest.raises(UsageError, match=message):
        choose_form(flags, None if output is None else OutputParameter().convert(output, None, None), films)


def test_a_slash_or_a_folder_that_exists_makes_a_folder(tmp_path: Path) -> None:
    """The result of a single film gets the film's name in a folder that exists, or whose name ends with a slash."""
    for name in (f"{tmp_path}/new/", str(tmp_path)):
        output = OutputParameter().convert(name, None, None)
        assert plan_outputs([FILM], output, "srt", None) == {FILM: Path(name) / "film.srt"}


def test_a_film_that_is_named_twice_is_processed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Films keep their order, and one that is named again, also by another path, is left out with a message."""
    again = tmp_path / "other" / ".." / "a.mp4"
    films = [tmp_path / "b.mp4", tmp_path / "a.mp4", again]
    assert distinct(films) == tuple(films[:2])
    assert capsys.readouterr().err == f"{again} is named twice: it is processed once\n"


@pytest.mark.parametrize(
    ("doubtful", "expected"),
    [
        (Doubtful.OMIT, "1 caption in 10.2 s of film; 2 doubtful captions left out (--doubtful mark or keep includes them)"),
        (Doubtful.MARK, "3 captions in 10.2 s of film, 2 of them doubtful and marked"),
        (Doubtful.KEEP, "3 captions in 10.2 s of film, 2 of them doubtful"),
    ],
)
def test_the_summary_counts_what_subtitles_hold(doubtful: Doubtful, expected: str) -> None:
    """The summary's number is that of the cues, and doubtful captions that were left out are counted with the option that includes them."""
    run = run_of(caption(), caption(doubt="weak"), caption(doubt="weak"))
    assert summary(run, "srt", doubtful, None) == expected
    assert expected.startswith(f"{len(cues(run, doubtful))} caption")


def test_the_summary_of_tables_and_json_counts_both_kinds() -> None:
    """Tables and JSON list doubtful captions, so they are counted apart and none is left out."""
    run = run_of(caption(), caption(doubt="weak"))
    assert summary(run, None, Doubtful.OMIT, None) == "1 caption and 1 doubtful in 10.2 s of film"
    assert summary(run, "json", Doubtful.OMIT, Path("a.json")) == "1 caption and 1 doubtful written to a.json"


def test_subtitles_on_standard_output_have_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    """Subtitles go to standard output alone, and the summary to standard error."""
    with results_of("srt").opened() as give:
        give(run_of(caption("Wait."), caption("x", "weak")))
    printed = capsys.readouterr()
    assert printed.out == "1\n00:00:01,000 --> 00:00:02,000\nWait.\n"
    assert printed.err == "1 caption in 10.2 s of film; 1 doubtful caption left out (--doubtful mark or keep includes it)\n"


def test_a_crop_without_captions_says_how_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    """Without any caption in a crop that was given, the command that draws where captions are is named."""
    with results_of("srt").opened() as give:
        give(run_of())
    assert capsys.readouterr() == (
        "",
        "0 captions in 10.2 s of film\n"
        "no caption in the crop: to see where the film's captions are: extents crop film.mp4 --preview crop.png\n",
    )


def test_captions_that_were_not_read_are_marked_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    """Tables and subtitles say [unread] where a caption has no words, JSON has null, and a message counts them."""
    run = run_of(caption("Wait."), caption(), caption("Wait for me!"), has_words=True)
    assert [cue.text for cue in cues(run, Doubtful.OMIT)] == ["Wait.", UNREAD, "Wait for me!"]
    assert [caption["text"] for caption in json.loads(written(run, "json", Doubtful.OMIT, "model-1"))["captions"]][1] is None
    print_found(run)
    assert [line.split()[5:] for line in capsys.readouterr().out.splitlines()[1:]] == [["Wait."], [UNREAD], ["Wait", "for", "me!"]]
    (line,) = advice(run, "srt", Doubtful.OMIT, is_crop_given=True)
    assert line == "1 of 3 captions was not read: the text is [unread]"
    assert [cue.text for cue in cues(run_of(caption()), Doubtful.OMIT)] == [None]


def test_json_of_several_films_is_one_array(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON of several films is one array, whole also if the work is interrupted; that of a single film stays an object."""

    def interrupted() -> None:
        with results_of("json", several=True).opened() as give:
            give(run_of(caption()))
            give(run_of())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [len(film["captions"]) for film in json.loads(capsys.readouterr().out)] == [1, 0]
    with results_of("json", several=True).opened():
        pass
    assert json.loads(capsys.readouterr().out) == []
    with results_of("json").opened() as give:
        give(run_of(caption()))
    assert json.loads(capsys.readouterr().out)["frames"] == 102
