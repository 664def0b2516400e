"""Counts agree with their nouns."""

import pytest

from core.counts import counted


@pytest.mark.parametrize(("count", "expected"), [(0, "0 captions"), (1, "1 caption"), (2, "2 captions")])
def test_one_is_singular(count: int, expected: str) -> None:
    """Only a count of one has the noun without its s."""
    assert counted(count, "caption") == expected
