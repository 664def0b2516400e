"""``--text`` takes a language after it, but never a film."""

from pathlib import Path

import pytest

from cli.film.finding.language_option import without_films_as_language

NO_LANGUAGE = "--text="


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--text", "film.mp4"], [NO_LANGUAGE, "film.mp4"]),
        (["--text", "film.mp4", "other.mp4"], [NO_LANGUAGE, "film.mp4", "other.mp4"]),
        (["--text", "missing.mp4"], [NO_LANGUAGE, "missing.mp4"]),
        (["--text", "film"], [NO_LANGUAGE, "film"]),
        (["film.mp4", "--text"], ["film.mp4", NO_LANGUAGE]),
        (["--text", "en", "film.mp4"], ["--text", "en", "film.mp4"]),
        (["--text", "xx", "film.mp4"], ["--text", "xx", "film.mp4"]),
        (["--text", "zh-Hant", "film.mp4"], ["--text", "zh-Hant", "film.mp4"]),
        (["--text", "--srt", "film.mp4"], [NO_LANGUAGE, "--srt", "film.mp4"]),
        (["--", "--text", "film.mp4"], ["--", "--text", "film.mp4"]),
    ],
)
def test_a_film_is_no_language(given: list[str], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows --text is its language only if it is a known one, or looks like one and is no file."""
    monkeypatch.chdir(tmp_path)
    for name in ("film.mp4", "film", "en"):
        Path(name).touch()
    assert without_films_as_language(given) == expected


def test_a_film_after_text_is_taken_as_the_film(extents, tmp_path: Path) -> None:
    """With a film right after --text, the command reads that film."""
    (tmp_path / "empty.mp4").touch()
    done = extents("find", "--crop", "0,0,10,10", "--text", tmp_path / "empty.mp4", "--reader", "nobody")
    assert "there is no reader 'nobody'" in done.err
