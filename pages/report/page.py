"""Renders the report: styles, scripts and data in one file, under a content security policy that lets nothing else in."""

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence

import orjson
from markupsafe import Markup

from core.types import FRAMES_PER_SECOND
from pages.assets import read_asset, templates
from pages.report.attention import rank
from pages.report.facts import confidence_rows, facts, label_rows
from pages.report.payload import Filmstrip, payload
from storage.run_db_reader import RunDatabase


def render_report(run: RunDatabase, filmstrips: Sequence[Filmstrip] = (), without_strips: str | None = None) -> str:
    """Render the report as one HTML document, which loads nothing.

    Args:
        filmstrips: strips either side of boundaries, for as many as should be shown.
        without_strips: why there are none, if a reader would expect some.
    """
    attention = rank(run)
    style = read_asset("base.css") + read_asset("timeline.css") + read_asset("report.css")
    script = read_asset("timeline.js") + read_asset("report.js")
    return (
        templates()
        .get_template("report.html")
        .render(
            run=run,
            title=f"Run {run.run_id}",
            facts=facts(run),
            labels=label_rows(run),
            confidences=confidence_rows(run),
            attention=attention,
            issues=Counter(issue.kind.replace("_", " ") for issue in run.track.issues),
            seconds_of=lambda pair: (pair + 1) / FRAMES_PER_SECOND,
            filmstrips=len(filmstrips),
            without_strips=without_strips,
            style=Markup(style),  # noqa: S704 - our own files
            script=Markup(script),  # noqa: S704 - our own files
            data=Markup(json_in_html(payload(run, attention, filmstrips))),  # noqa: S704 - escaped by json_in_html
            policy=content_policy(style, script),
        )
    )


def json_in_html(value: object) -> str:
    """Write JSON that cannot end its script element: ``<`` is escaped, which means the same within strings."""
    return orjson.dumps(value).decode().replace("<", "\\u003c")


def content_policy(style: str, script: str) -> str:
    """Return what the browser may load: embedded images, and exactly this style and this script."""
    allowed = f"img-src data:; style-src {_hash(style)}; script-src {_hash(script)}"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
