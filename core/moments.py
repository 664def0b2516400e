"""Moments as Kafka keeps them, in milliseconds since the epoch. Any producer may write any number there."""

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime

EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC)
"""A day within what Python and PostgreSQL can hold, so that no time zone leads out of it."""


def utc(timestamp_ms: int) -> datetime:
    """The moment of a timestamp; one outside the years 1 to 9999 counts as the first or last moment within them."""
    try:
        return min(max(datetime.fromtimestamp(timestamp_ms / 1000, UTC), EARLIEST), LATEST)
    except (ValueError, OverflowError, OSError):
        return LATEST if timestamp_ms > 0 else EARLIEST


def parse_moment(text: str) -> datetime:
    """A moment from ISO 8601; one without a zone is in UTC, since old records may hold such."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _in_range(moment: datetime) -> datetime:
    if not EARLIEST <= moment <= LATEST:
        raise ValueError(f"not between the years {EARLIEST.year} and {LATEST.year}")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_in_range)]
"""A time in a record: with its zone, and a day within the years 1 to 9999."""
