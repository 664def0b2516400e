"""How a reader is chosen, how lines of a reading are joined, and what does not count as a reading."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from core.errors import ConfigurationError
from inference.reading.rapid import LANGUAGES, RapidReader, _in_lines, _is_read
from inference.reading.reader import GROUP, open_reader

ROOT = Path(__file__).parents[2]


def box(left: float, top: float, width: float = 50, height: float = 20) -> np.ndarray:
    return np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]])


def test_boxes_are_joined_in_reading_order() -> None:
    """Words are joined from left to right and lines from top to bottom, even if the detector gives them out of order and uneven."""
    words = [(box(200, 42), "line", 0.9), (box(120, 3), "line", 0.9), (box(40, 0), "First", 0.9), (box(100, 40), "second", 0.9)]
    assert _in_lines(words) == "First line\nsecond line"


@pytest.mark.parametrize(
    ("text", "read"), [("Wait.", True), ("[ birds ]", True), ("   .", False), ("...", False), ("等一下", True), ("", False)]
)
def test_points_and_spaces_are_no_reading(text: str, read: bool) -> None:
    """Only points and spaces count as not read, so that a script the reader does not know makes no neighbours equal."""
    assert _is_read(text) is read


def test_a_reader_that_is_not_there_is_refused_by_name() -> None:
    """The error for an unknown reader lists those installed."""
    with pytest.raises(ConfigurationError, match=r"there is no reader 'nobody'; installed are: .*rapidocr"):
        open_reader(name="nobody")
    assert GROUP == "extents.readers"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """If RapidOCR is not installed, the error says how to install it, whatever the language."""
    monkeypatch.setitem(sys.modules, "rapidocr", None)  # with None there, importing fails as if it were not installed
    with pytest.raises(ConfigurationError, match=r"not installed .*: run make setup EXTRAS=text, or make setup-film EXTRAS=text"):
        open_reader("ru")


def test_a_language_that_is_not_read_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for an unknown language says what can be read, and where it is described how to add a reader."""
    monkeypatch.setitem(sys.modules, "rapidocr", ModuleType("rapidocr"))
    monkeypatch.setattr("rapidocr.RapidOCR", None, raising=False)
    with pytest.raises(ConfigurationError, match=r"--text ru: .* it reads Chinese \(zh\), .*; docs/reading.md"):
        RapidReader("ru")


def test_every_language_is_documented() -> None:
    """docs/reading.md lists every language that the reader accepts."""
    assert set(re.findall(r"`(\w+)`", (ROOT / "docs" / "reading.md").read_text())) >= LANGUAGES


def test_a_reader_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another distribution's broken reader gives an error that names it, and is still listed beside the others."""
    info = tmp_path / "broken_reader-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-reader\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nbroken = no_such_module:Reader\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match=r"the reader 'broken' \(no_such_module:Reader\) cannot be loaded: ModuleNotFoundError"):
        open_reader(name="broken")
    with pytest.raises(ConfigurationError, match="installed are: broken, rapidocr"):
        open_reader(name="nobody")
