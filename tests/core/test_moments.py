"""Times from other systems: a time beyond Python's range becomes the first or last one that Python can hold."""

from datetime import UTC, datetime

import pytest

from core.moments import EARLIEST, LATEST, parse_moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("infinity", LATEST),
        ("-infinity", EARLIEST),
        ("10000-01-01T00:00:00+00:00", LATEST),
        ("294276-12-31T23:59:59.999999+00:00", LATEST),
        ("0044-03-15T00:00:00+00:00 BC", EARLIEST),
    ],
)
def test_every_moment_of_a_row_can_be_read(text: str, moment: datetime) -> None:
    """All times that PostgreSQL writes are read, including infinities and years beyond Python's range."""
    assert parse_moment(text) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "infinity soon", "12345", "2026-13-01T00:00:00"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """Text that PostgreSQL would not write as a time is rejected."""
    with pytest.raises(ValueError, match=r"isoformat|month"):
        parse_moment(text)
