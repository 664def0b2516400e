"""What is read from a still, where the extra `text` is installed; how its lines are put together, and what is no reading, everywhere."""

import numpy as np
import pytest

from core.errors import ConfigurationError
from inference.reading.rapid import RapidReader, _in_lines, _is_read
from inference.reading.reader import GROUP, open_reader


def box(left: float, top: float, width: float = 50, height: float = 20) -> np.ndarray:
    return np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]])


def test_boxes_are_joined_in_reading_order() -> None:
    """Words of one line from left to right, lines from top to bottom, however the detector orders them and however they waver."""
    words = [(box(200, 42), "line", 0.9), (box(120, 3), "line", 0.9), (box(40, 0), "First", 0.9), (box(100, 40), "second", 0.9)]
    assert _in_lines(words) == "First line\nsecond line"


@pytest.mark.parametrize(
    ("text", "read"), [("Wait.", True), ("[ birds ]", True), ("   .", False), ("...", False), ("等一下", True), ("", False)]
)
def test_points_and_spaces_are_no_reading(text: str, read: bool) -> None:
    """A script that the reader does not know must not make neighbours equal."""
    assert _is_read(text) is read


def test_a_language_or_reader_that_is_not_there_is_refused_by_name() -> None:
    """The message lists what there is; nothing is downloaded."""
    with pytest.raises(ConfigurationError, match="--text xx: the installed networks read ch, en"):
        RapidReader("xx")
    with pytest.raises(ConfigurationError, match=r"there is no reader 'nobody'; installed are: .*rapidocr"):
        open_reader(name="nobody")
    assert GROUP == "extents.readers"
