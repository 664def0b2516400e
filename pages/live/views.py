"""Turns rows into what a template prints: durations, shares and times in words."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from core.history import SpanHistory
from core.moments import parse_moment
from core.types import FRAMES_PER_SECOND
from storage.listings import Row


def moment(value: str | datetime | None) -> datetime | None:
    return parse_moment(value) if isinstance(value, str) else value


def iso(value: str | datetime | None) -> str:
    at = moment(value)
    return "" if at is None else at.isoformat()


def ago(value: str | datetime | None) -> str:
    """``12 s ago``. A script keeps it up to date in the browser."""
    at = moment(value)
    return "" if at is None else f"{duration((datetime.now(UTC) - at).total_seconds())} ago"


def duration(seconds: float | None) -> str:
    """``47 s``, ``12 min``, ``3.5 h``, ``2 d``."""
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86_400:.0f} d"


def film_length(pairs: int | None) -> str:
    return "" if pairs is None else duration((pairs + 1) / FRAMES_PER_SECOND)


def progress(job: Row) -> dict[str, Any]:
    """Return a job's share done, pairs per second and time left, as far as they are known."""
    total, done, started = job["pairs_total"] or 0, job["pairs_done"] or 0, moment(job["started_at"])
    elapsed = (datetime.now(UTC) - started).total_seconds() if started else 0.0
    rate = done / elapsed if done and elapsed > 0 else None
    return {
        "done": done,
        "total": total,
        "percent": 100 * done // total if total else 0,
        "rate": f"{rate:,.0f}" if rate else "",
        "left": duration((total - done) / rate) if rate and done < total else "",
    }


def took(job: Row) -> str:
    """Return the time from the request to the end."""
    begin, end = moment(job["created_at"]), moment(job["completed_at"])
    return duration((end - begin).total_seconds()) if begin and end else ""


def shown_time(value: str | datetime | None) -> str:
    """``2026-11-28 17:03:21 UTC``."""
    at = moment(value)
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def shown_moment(at: datetime) -> str:
    """``2026-11-28 17:03:21.4``: several entries of a history may be of the same second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{at.microsecond // 100_000}"


def shown_clock(at: datetime | None) -> str:
    """``17:03:21.4``."""
    return "" if at is None else shown_moment(at).partition(" ")[2]


def span_bar(span: SpanHistory, spans: Sequence[SpanHistory]) -> Markup:
    """Draw when a span was processed, as a bar within the time from the first span's start to the last span's end."""
    now = datetime.now(UTC)
    begin = min((each.taken_at for each in spans if each.taken_at), default=now)
    end = max((each.ended_at or now for each in spans if each.taken_at), default=now)
    whole = max((end - begin).total_seconds(), 0.001)
    bar = ""
    if span.taken_at is not None:
        left = 1000 * (span.taken_at - begin).total_seconds() / whole
        wide = max(4.0, 1000 * ((span.ended_at or now) - span.taken_at).total_seconds() / whole)
        bar = f'<rect class="{span.state}" x="{min(left, 996):.0f}" width="{wide:.0f}" height="10"/>'
    svg = '<svg class="spanbar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">'
    return Markup(f'{svg}<rect class="back" width="1000" height="10" opacity="0.4"/>{bar}</svg>')  # noqa: S704 - numbers and a state
