"""Captions as subtitle files. The cue of a caption without words carries its number."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cue:
    """One caption of a subtitle file. ``note`` is for people who edit the file, not for the screen."""

    start_seconds: float
    end_seconds: float
    text: str | None = None
    note: str | None = None


def to_srt(cues: Sequence[Cue]) -> str:
    """SubRip: numbered cues, comma before the milliseconds. It has no comments, so a note precedes the text in brackets."""
    return "\n".join(
        f"{number}\n{_times(cue, ',')}\n{f'[{cue.note}] ' if cue.note else ''}{_text(cue, number)}\n"
        for number, cue in enumerate(cues, start=1)
    )


def to_vtt(cues: Sequence[Cue]) -> str:
    """WebVTT (W3C), cues identified by their numbers; a note is a ``NOTE`` before its cue."""
    return "WEBVTT\n" + "".join(
        f"{f'{chr(10)}NOTE {cue.note}{chr(10)}' if cue.note else ''}\n{number}\n{_times(cue, '.')}\n{_escaped(_text(cue, number))}\n"
        for number, cue in enumerate(cues, start=1)
    )


def _text(cue: Cue, number: int) -> str:
    """Return the caption's text without empty lines, which would end the cue."""
    lines = [line for line in (cue.text or "").splitlines() if line.strip()]
    return "\n".join(lines) or f"Caption {number}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _times(cue: Cue, mark: str) -> str:
    return f"{_time(cue.start_seconds, mark)} --> {_time(cue.end_seconds, mark)}"


def _time(seconds: float, mark: str) -> str:
    """``00:01:02,300``."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"
