"""Captions as a table and as JSON, the same in every command."""

from collections.abc import Sequence
from typing import Any

from cli.shared.output import print_table
from core.captions import CaptionExtent
from core.film_time import clock

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


def _confidence(caption: CaptionExtent) -> str:
    known = [value for value in (caption.start_confidence, caption.end_confidence) if value is not None]
    return f"{min(known):.3f}" if known else ""
