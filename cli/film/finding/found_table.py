"""The captions that ``find`` detected, as a table and as JSON. Separate from ``caption_table``, so that ``show`` loads no network."""

from collections.abc import Sequence
from typing import Any

from cli.film.finding.film_run import FilmRun
from cli.shared.output import exact_clock, print_table
from inference.finding.found import FoundCaption


def print_found(run: FilmRun) -> None:
    """A row per caption, doubtful ones marked; with zones if there are several, and words if there are any."""
    zones = len(run.zones) > 1
    headings = ["#", "start", "end", "seconds", *(["zone"] if zones else []), "confidence", "", *(["text"] if run.has_words else [])]
    rows = [
        [
            str(number),
            exact_clock(caption.start_seconds),
            exact_clock(caption.end_seconds),
            f"{caption.seconds:.2f}",
            *([caption.zone] if zones else []),
            f"{caption.extent.confidence:.2f}",
            "" if caption.doubt is None else "doubtful",
            *([(run.words(caption) or "").replace("\n", " / ")] if run.has_words else []),
        ]
        for number, caption in enumerate(run.captions, start=1)
    ]
    print_table(headings, rows, right=("#", "start", "end", "seconds", "confidence"), folded=("text",))


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
