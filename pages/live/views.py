"""Turns rows into what a template prints: durations, shares and times in words."""

from datetime import UTC, datetime
from typing import Any

from core.moments import parse_moment
from core.types import FRAMES_PER_SECOND
from storage.listings import Row


def moment(text: str | None) -> datetime | None:
    return None if text is None else parse_moment(text)


def ago(text: str | datetime | None) -> str:
    """``12 s ago``."""
    at = moment(text) if isinstance(text, str) else text
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


def shown_time(text: str | None) -> str:
    """``2026-11-28 17:03:21 UTC``."""
    at = moment(text)
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
