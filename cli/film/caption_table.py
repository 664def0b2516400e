"""Captions as a table and as JSON, the same in every command."""

from collections.abc import Sequence
from typing import Any

from cli.shared.output import clock, exact_clock, print_table
from core.captions import CaptionExtent
from inference.finding.found import FoundCaption

_HEADINGS = ("#", "start", "end", "seconds", "frames", "confidence")


def print_captions(captions: Sequence[CaptionExtent]) -> None:
    """Print a row per caption; confidence is that of the less certain boundary."""
    rows = [
        (
            str(number),
            clock(caption.start_seconds),
            clock(caption.end_seconds),
            f"{caption.end_seconds - caption.start_seconds:.1f}",
            f"{caption.first_frame}-{caption.last_frame}",
            _confidence(caption),
        )
        for number, caption in enumerate(captions, start=1)
    ]
    print_table(_HEADINGS, rows, right=("#", "start", "end", "seconds", "confidence"))


def captions_as_json(captions: Sequence[CaptionExtent]) -> list[dict[str, Any]]:
    return [
        {
            "first_frame": caption.first_frame,
            "last_frame": caption.last_frame,
            "start_seconds": caption.start_seconds,
            "end_seconds": caption.end_seconds,
            "start_confidence": caption.start_confidence,
            "end_confidence": caption.end_confidence,
        }
        for caption in captions
    ]


def print_found(captions: Sequence[FoundCaption], *, zones: bool) -> None:
    """A row each, doubtful ones with a question mark; the zone and the words where there are any to tell."""
    read = any(caption.text is not None for caption in captions)
    headings = ["#", "start", "end", "seconds", *(["zone"] if zones else []), "confidence", "", *(["text"] if read else [])]
    rows = [
        [
            str(number),
            exact_clock(caption.start_seconds),
            exact_clock(caption.end_seconds),
            f"{caption.seconds:.2f}",
            *([caption.zone] if zones else []),
            f"{caption.extent.confidence:.2f}",
            "" if caption.doubt is None else "doubtful",
            *([(caption.text or "").replace("\n", " / ")] if read else []),
        ]
        for number, caption in enumerate(captions, start=1)
    ]
    print_table(headings, rows, right=("#", "start", "end", "seconds", "confidence"))


def found_as_json(captions: Sequence[FoundCaption]) -> list[dict[str, Any]]:
    return [
        {
            "zone": caption.zone,
            "first_frame": caption.first_frame,
            "last_frame": caption.last_frame,
            "start_seconds": round(caption.start_seconds, 3),
            "end_seconds": round(caption.end_seconds, 3),
            "start_confidence": caption.extent.start_confidence,
            "end_confidence": caption.extent.end_confidence,
            "confidence": caption.extent.confidence,
            "doubtful": caption.doubt,
            "text": caption.text,
            "text_confidence": caption.text_confidence,
        }
        for caption in captions
    ]


def _confidence(caption: CaptionExtent) -> str:
    known = [value for value in (caption.start_confidence, caption.end_confidence) if value is not None]
    return f"{min(known):.3f}" if known else ""
