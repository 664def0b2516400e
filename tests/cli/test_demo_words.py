"""The demo's last table: the words that were read, and what is in the film where they differ."""

import pytest

from cli.developing.demo_check import Finding
from cli.developing.demo_words import Words, print_words


def test_words_are_compared_with_the_film_without_regard_to_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    """A missing space or another line break is not an error. A missing mark is one, and then the film's text is printed too."""
    findings = [Finding("Wait for\nme!", (0, 9), (0, 9)), Finding("That is our rabbit.", (10, 19), (10, 20))]
    print_words([Words((0, 9), "Wait forme!"), Words((10, 20), "That is our rabbit")], findings)
    output = capsys.readouterr().out
    assert "0:00:00.0 - 0:00:01.0" in output
    assert "Wait for / me!" not in output
    assert "That is our rabbit." in output
    assert output.endswith("1 of 2 read without an error (spaces are not compared)\n")


def test_a_caption_that_was_not_read_shows_what_is_in_the_film(capsys: pytest.CaptureFixture[str]) -> None:
    """A script that the reader does not know is marked as unread, and what is in the film is printed."""
    print_words([Words((0, 9), "")], [Finding("Поезд уходит", (0, 9), (0, 9))])
    output = capsys.readouterr().out
    assert output.splitlines()[1].split()[3:] == ["[unread]", "Поезд", "уходит"]
    assert output.endswith("0 of 1 read without an error (spaces are not compared)\n")
