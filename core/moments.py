"""Times as Kafka and PostgreSQL store them: both have a wider range than Python."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime

EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC)
"""The first and last days that Python and PostgreSQL can represent in every time zone."""

_BEFORE_ALL: Final = re.compile(r"-infinity|.* BC")
_AFTER_ALL: Final = re.compile(r"infinity|[0-9]{5,}-.*")
"""PostgreSQL's spelling of times that Python cannot hold."""


def utc(timestamp_ms: int) -> datetime:
    """Convert a record's timestamp, in milliseconds since the epoch. Its producer may have written any number.

    A time outside the years 1 to 9999 becomes the first or last one within them.
    """
    try:
        return min(max(datetime.fromtimestamp(timestamp_ms / 1000, UTC), EARLIEST), LATEST)
    except (ValueError, OverflowError, OSError):
        return LATEST if timestamp_ms > 0 else EARLIEST


def parse_moment(text: str) -> datetime:
    """Parse a time from ISO 8601 or from a row. A time without a zone is in UTC, because old records may hold such times.

    ``infinity``, and years that only PostgreSQL can hold, become the first or last time, as in ``utc``.

    Raises:
        ValueError: the text is not a time.
    """
    if _BEFORE_ALL.fullmatch(text):
        return EARLIEST
    if _AFTER_ALL.fullmatch(text):
        return LATEST
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _in_range(moment: datetime) -> datetime:
    if not EARLIEST <= moment <= LATEST:
        raise ValueError(f"not between the years {EARLIEST.year} and {LATEST.year}")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_in_range)]
"""A time in a record, with a zone and within the years 1 to 9999."""
