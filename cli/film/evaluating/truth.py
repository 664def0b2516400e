"""Reads the known captions of a video: SubRip, WebVTT, or the JSON of ``extents find``."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import orjson

from core.accuracy import Extent
from core.errors import CorruptInputError
from core.film_time import clock
from core.types import FRAMES_PER_SECOND

_TIME: Final = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[,.](\d{1,3})"
_TIMES: Final = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}")
_ROUNDING: Final = 1e-6  # frames: the rounding of times in floating point


@dataclass(frozen=True, slots=True)
class KnownCaption:
    """When a caption appears, and the first moment without it."""

    start_seconds: float
    end_seconds: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class Truth:
    """The known captions of a video, ascending without overlap.

    Attributes:
        remarks: what was changed to make them so.
    """

    captions: tuple[KnownCaption, ...]
    remarks: tuple[str, ...] = ()

    def extents(self, frame_count: int) -> list[Extent]:
        """Return the first and last frame that show each caption. A caption that falls between two frames is left out."""
        extents = [
            (
                max(0, math.ceil(caption.start_seconds * FRAMES_PER_SECOND - _ROUNDING)),
                min(frame_count, math.ceil(caption.end_seconds * FRAMES_PER_SECOND - _ROUNDING)) - 1,
            )
            for caption in self.captions
        ]
        return [(first, last) for first, last in extents if first <= last]


def read_truth(path: Path) -> Truth:
    """Read a file. Its format is recognised by its content.

    Raises:
        CorruptInputError: it has no captions that can be read; the message names the line or the place.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorruptInputError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    captions = list(_from_json(path, text) if text.lstrip()[:1] in ("{", "[") else _from_subtitles(path, text))
    if not captions:
        raise CorruptInputError(f"{path}: no captions; expected SubRip (.srt), WebVTT (.vtt), or what extents find --json prints")
    for caption in captions:
        if caption.end_seconds <= caption.start_seconds:
            raise CorruptInputError(
                f"{path}: the caption at {clock(caption.start_seconds)} ends at {clock(caption.end_seconds)}, not after its start"
            )
    return _apart(sorted(captions, key=lambda caption: (caption.start_seconds, caption.end_seconds)))


def _from_subtitles(path: Path, text: str) -> Iterator[KnownCaption]:
    lines = text.splitlines()
    numbers = [number for number, line in enumerate(lines) if "-->" in line]
    for number, following in pairwise([*numbers, len(lines)]):
        match = _TIMES.match(lines[number])
        if match is None:
            raise CorruptInputError(f"{path}, line {number + 1}: {lines[number].strip()[:60]!r}; expected 00:01:02,300 --> 00:01:04,100")
        words = []
        for line in lines[number + 1 : following]:
            if not line.strip():
                break
            words.append(line.strip())
        yield KnownCaption(_seconds(match.groups()[:4]), _seconds(match.groups()[4:]), "\n".join(words))


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction}")


def _from_json(path: Path, text: str) -> Iterator[KnownCaption]:
    try:
        content: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CorruptInputError(f"{path}: not JSON: {error}") from None
    listed = content.get("captions") if isinstance(content, dict) else content
    if not isinstance(listed, list):
        raise CorruptInputError(f'{path}: no list of captions; expected {{"captions": [{{"start_seconds": 1.2, "end_seconds": 3.4}}]}}')
    for number, entry in enumerate(listed):
        try:
            start, end = float(entry["start_seconds"]), float(entry["end_seconds"])
        except (TypeError, KeyError, ValueError):
            raise CorruptInputError(f"{path}: caption {number} has no numbers start_seconds and end_seconds") from None
        if entry.get("doubtful") is None:  # extents find marks what may not be a caption in this way
            yield KnownCaption(start, end, str(entry.get("text") or ""))


def _apart(captions: list[KnownCaption]) -> Truth:
    """Remove overlaps: the earlier of two overlapping captions ends where the later one starts."""
    remarks = []
    lines = [caption for caption, after in pairwise(captions) if _same_time(caption, after)]
    if lines:
        remarks.append(f"{len(lines)} captions have the same times as the next one, and count as lines of it")
        captions = [caption for caption in captions if not any(caption is other for other in lines)]
    overlaps = sum(caption.end_seconds > after.start_seconds for caption, after in pairwise(captions))
    if overlaps:
        remarks.append(f"{overlaps} captions overlap the next one, and count as ending where it starts")
    cut = [replace(caption, end_seconds=min(caption.end_seconds, after.start_seconds)) for caption, after in pairwise(captions)]
    return Truth((*cut, *captions[-1:]), tuple(remarks))


def _same_time(caption: KnownCaption, other: KnownCaption) -> bool:
    return (caption.start_seconds, caption.end_seconds) == (other.start_seconds, other.end_seconds)
