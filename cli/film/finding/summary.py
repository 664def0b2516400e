"""What ``find`` says about a film's result: how many captions, where they are, and what to do about those that are missing."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from cli.film.finding.film_run import UNREAD, FilmRun
from cli.film.finding.forms import SUBTITLES, Doubtful
from cli.shared.output import program
from core.counts import counted


def summary(run: FilmRun, form: str | None, doubtful: Doubtful, output: Path | None) -> str:
    """``6 captions written to film.srt; 1 doubtful caption left out (--doubtful mark or keep includes it)``."""
    doubts = sum(caption.doubt is not None for caption in run.captions)
    sure = len(run.captions) - doubts
    place = f"written to {output}" if output is not None else (f"in {run.seconds:.1f} s of film" if run.seconds else "found")
    if not doubts:
        return f"{counted(sure, 'caption')} {place}"
    if form not in SUBTITLES:
        return f"{counted(sure, 'caption')} and {doubts} doubtful {place}"
    if doubtful is Doubtful.OMIT:
        them = "it" if doubts == 1 else "them"
        left_out = f"{counted(doubts, 'doubtful caption')} left out (--doubtful mark or keep includes {them})"
        return f"{counted(sure, 'caption')} {place}; {left_out}"
    marked = " and marked" if doubtful is Doubtful.MARK else ""
    return f"{counted(sure + doubts, 'caption')} {place}, {doubts} of them doubtful{marked}"


def advice(run: FilmRun, form: str | None, doubtful: Doubtful, *, is_crop_given: bool) -> Iterator[str]:
    """Yield what a person should know beyond the numbers."""
    if not run.captions and is_crop_given and not run.path.is_fifo():
        film = shlex.quote(str(run.path))
        yield f"no caption in the crop: to see where the film's captions are: {program()} crop {film} --preview crop.png"
    omits = form in SUBTITLES and doubtful is Doubtful.OMIT
    shown = [caption for caption in run.captions if caption.doubt is None or not omits]
    unread = sum(not caption.text for caption in shown)
    if run.has_words and unread:
        instead = "" if form == "json" else f": the text is {UNREAD}"
        yield f"{unread} of {counted(len(shown), 'caption')} {'was' if unread == 1 else 'were'} not read{instead}"
