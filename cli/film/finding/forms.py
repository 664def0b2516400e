"""The formats in which ``find`` writes a film's captions, with or without the doubtful ones."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from cli.film.finding.film_run import FilmRun
from cli.film.finding.found_table import found_as_json
from cli.film.finding.subtitles import Cue, to_srt, to_vtt
from cli.shared.output import json_text
from inference.finding.zone import Zone


class Doubtful(StrEnum):
    """What subtitle files do with doubtful captions. Tables and JSON always list and mark them."""

    OMIT = "omit"
    MARK = "mark"
    KEEP = "keep"


SUBTITLES: Final[Mapping[str, Callable[[Sequence[Cue]], str]]] = {"srt": to_srt, "vtt": to_vtt}

FORMS: Final = (*SUBTITLES, "json")


def written(run: FilmRun, form: str, doubtful: Doubtful, model_version: str) -> str:
    """The content of a file."""
    if form == "json":
        return json_text(as_json(run, model_version))
    return SUBTITLES[form](cues(run, doubtful))


def cues(run: FilmRun, doubtful: Doubtful) -> list[Cue]:
    """A cue per caption. Captions of two zones may overlap in time, such as a note on top and speech below."""
    return [
        Cue(
            caption.start_seconds,
            caption.end_seconds,
            run.words(caption),
            f"doubtful: {caption.doubt}" if caption.doubt is not None and doubtful is Doubtful.MARK else None,
        )
        for caption in run.captions
        if caption.doubt is None or doubtful is not Doubtful.OMIT
    ]


def as_json(run: FilmRun, model_version: str) -> dict[str, Any]:
    return {
        "video": str(run.path),
        "frames": run.frame_count,
        "seconds": round(run.seconds, 3),
        "model_version": model_version,
        "zones": zones_as_json(run.zones),
        "captions": found_as_json(run.captions),
    }


def zones_as_json(zones: Sequence[Zone]) -> list[dict[str, Any]]:
    return [
        {"name": zone.name, "crop": [zone.box.left, zone.box.top, zone.box.right, zone.box.bottom], "anchor": zone.anchor.value}
        for zone in zones
    ]
