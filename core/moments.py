"""Moments as Kafka and PostgreSQL keep them: both hold more than Python does."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime

EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC)
"""A day within what Python and PostgreSQL can hold, so that no time zone leads out of it."""

_BEFORE_ALL: Final = re.compile(r"-infinity|.* BC")
_AFTER_ALL: Final = re.compile(r"infinity|[0-9]{5,}-.*")
"""How PostgreSQL writes what Python cannot hold."""


def utc(timestamp_ms: int) -> datetime:
    """The moment of a record's timestamp in milliseconds since the epoch, in which any producer may write any number.

    One outside the years 1 to 9999 counts as the first or last moment within them.
    """
    try:
        return min(max(datetime.fromtimestamp(timestamp_ms / 1000, UTC), EARLIEST), LATEST)
    except (ValueError, OverflowError, OSError):
        return LATEST if timestamp_ms > 0 else EARLIEST


def parse_moment(text: str) -> datetime:
    """A moment from ISO 8601, or from a row; one without a zone is in UTC, since old records may hold such.

    ``infinity``, and years that only PostgreSQL holds, count as the first or last moment, as in ``utc``.

    Raises:
        ValueError: the text is not a moment.
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
"""A time in a record: with its zone, and a day within the years 1 to 9999."""
