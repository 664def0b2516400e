"""Gives captions their words: from readings of their stills, or from a transcript."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from core.counts import counted
from core.errors import PermanentError
from inference.finding.found import FoundCaption
from inference.finding.stills import Still
from inference.reading.reader import Reading

_LONGEST_GAP_SECONDS: Final = 0.15  # between two parts of one caption


def add_readings(captions: Sequence[FoundCaption], readings: Sequence[tuple[Still, Reading]]) -> list[FoundCaption]:
    """Give each caption of a zone the words of the still that shares the most frames with it, and merge neighbours with the same words."""
    return merge_equal([_with_words(caption, readings) for caption in captions])


def merge_equal(captions: Sequence[FoundCaption]) -> list[FoundCaption]:
    """Merge neighbours that read the same and have no gap between them."""
    merged: list[FoundCaption] = []
    for caption in captions:
        if merged and _one_caption(merged[-1], caption):
            last = merged[-1]
            better = last if (last.text_confidence or 0.0) >= (caption.text_confidence or 0.0) else caption
            joined = last.until(caption)
            merged[-1] = replace(joined, text=better.text, text_confidence=better.text_confidence)
        else:
            merged.append(caption)
    return merged


def read_transcript(content: str) -> list[str]:
    """Read one line per caption; empty lines are skipped. ``\\n`` within a line separates the lines of one caption."""
    return [line.strip().replace("\\n", "\n") for line in content.splitlines() if line.strip()]


def add_transcript(captions: Sequence[FoundCaption], lines: Sequence[str]) -> list[FoundCaption]:
    """Give each caption that is not doubtful one line, in order.

    Raises:
        PermanentError: the numbers of captions and lines differ.
    """
    sure = [caption for caption in captions if caption.doubt is None]
    if len(sure) != len(lines):
        raise PermanentError(
            f"the transcript has {counted(len(lines), 'line')} for {counted(len(sure), 'caption')}; expected one line per caption: "
            "compare it with the table that extents find prints without --transcript"
        )
    words = iter(lines)
    return [caption if caption.doubt is not None else replace(caption, text=next(words), text_confidence=None) for caption in captions]


def _with_words(caption: FoundCaption, readings: Sequence[tuple[Still, Reading]]) -> FoundCaption:
    extent = caption.extent

    def shared(still: Still) -> int:
        return min(extent.last_frame, still.last_frame) - max(extent.first_frame, still.first_frame) + 1

    best = max(readings, key=lambda item: (shared(item[0]), item[1].confidence), default=None)
    if best is None or shared(best[0]) <= 0 or not best[1].text:
        return caption
    return replace(caption, text=best[1].text, text_confidence=best[1].confidence)


def _one_caption(before: FoundCaption, after: FoundCaption) -> bool:
    if not before.text or not after.text or after.start_seconds - before.end_seconds > _LONGEST_GAP_SECONDS:
        return False
    a, b = ("".join(filter(str.isalnum, text)).casefold() for text in (before.text, after.text))
    return a == b  # exactly equal, because consecutive captions often differ by only a letter or two
