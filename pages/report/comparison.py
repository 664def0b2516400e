"""Two runs of one video as one HTML file: both timelines, which move together, and each caption that changed with its strips."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from core.captions import CaptionExtent
from core.film_time import clock
from pages.assets import read_asset, templates
from pages.report.page import content_policy, json_in_html
from pages.report.payload import payload
from storage.run_db_reader import RunDatabase

PLACES: Final = 60
"""More than a reader looks through; with the strips of this many places the file takes a few MB."""

Place = Mapping[str, Any]
"""A caption that changed: ``change`` (lost, added or moved), ``before`` and ``after``, ``start_shift`` and ``end_shift``."""


def render_comparison(
    title: str,
    facts: Sequence[tuple[str, str]],
    before: RunDatabase,
    after: RunDatabase,
    places: Sequence[Place],
    strips: Mapping[int, bytes],
    without_strips: str | None = None,
) -> str:
    """Render the page as one HTML document, which loads nothing.

    Args:
        places: the worst first; the timelines mark all of them, and the first ``PLACES`` are listed.
        strips: PNGs by frame.
        without_strips: why there are none.
    """
    style = "".join(read_asset(name) for name in ("base.css", "timeline.css", "report.css", "compare.css"))
    script = "".join(read_asset(name) for name in ("timeline.js", "compare.js"))
    shown = [_listed(place) for place in places[:PLACES]]
    data = {
        "before": payload(before, (), ()) | {"changed": _changed(before, places, "before")},
        "after": payload(after, (), ()) | {"changed": _changed(after, places, "after")},
        "places": shown,
        "strips": {str(frame): f"data:image/png;base64,{base64.b64encode(image).decode()}" for frame, image in strips.items()},
    }
    return (
        templates()
        .get_template("compare.html")
        .render(
            title=title,
            facts=facts,
            places=shown,
            more=len(places) - len(shown),
            without_strips=without_strips,
            style=Markup(style),  # noqa: S704 - our own files
            script=Markup(script),  # noqa: S704 - our own files
            data=Markup(json_in_html(data)),  # noqa: S704 - escaped by json_in_html
            policy=content_policy(style, script),
        )
    )


def _changed(run: RunDatabase, places: Sequence[Place], side: str) -> list[int]:
    """Return the indexes of a run's captions that changed."""
    changed = {(place[side].first_frame, place[side].last_frame) for place in places if place[side] is not None}
    return [index for index, caption in enumerate(run.track.captions) if (caption.first_frame, caption.last_frame) in changed]


def _listed(place: Place) -> dict[str, Any]:
    caption: CaptionExtent = place["after"] or place["before"]
    shifts = "" if place["start_shift"] is None else f"start {place['start_shift']:+d}, end {place['end_shift']:+d} frames"
    return {
        "change": place["change"],
        "time": clock(caption.start_seconds),
        "frame": caption.first_frame,
        "what": shifts or f"{(caption.last_frame + 1 - caption.first_frame) / 10:.1f} s long",
        "before": _frames(place["before"]),
        "after": _frames(place["after"]),
    }


def _frames(caption: CaptionExtent | None) -> list[int] | None:
    return None if caption is None else [caption.first_frame, caption.last_frame]
