"""The runbook shows what its commands print; ``tests/service/test_runbook.py`` runs them."""

import pytest

from tests.service.runbook import PAGE, as_shown, masked, steps
from tests.service.test_runbook import SCENES


def test_every_command_has_an_output():
    """Every command on the page has an output, and no command appears twice."""
    shown = steps(PAGE.read_text())
    assert [step.command for step in shown if not step.output.strip()] == []
    commands = [step.command for step in shown]
    assert len(set(commands)) == len(commands) > 25
    assert set(SCENES) <= set(commands)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("at  2026-11-28 12:00:00 UTC", "at  2027-01-02 03:04:05 UTC"),
        ("run 3f2b8c1e  12s\n", "run   deadbee0   3m"),
        ("plan sent 291\ncost $185.83", "plan sent 3   \ncost $0.00"),
        ("progress  ####....................  10%", "progress  ##########..............  42%"),
    ],
)
def test_only_the_shape_is_compared(text: str, other: str):
    """Ids, times, numbers and widths of columns may differ."""
    assert masked(text) == masked(other)


def test_answers_are_shown_and_progress_is_not():
    """Ids, times and numbers are replaced, and the rest is as a terminal shows it."""
    printed = "verifying: 8 of 14 runs, about 0:00:13.5 left\ndelete 1 run? [y/N]: 1 run deleted  \n"
    assert as_shown(printed) == "delete 1 run? [y/N]: y\n1 run deleted\n"


def test_words_are_compared():
    """A different word, line or unit makes a different output."""
    assert masked("3 queued\nlag none") != masked("3 running\nlag none")
    assert masked("3 queued\nlag none") != masked("3 queued")
