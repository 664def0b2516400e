"""What a person sees on a terminal while a command works and after it."""

import sys
from pathlib import Path
from typing import Final

from tests.cli.terminal import render, run_on_terminal

_LONG: Final = "a long message, " * 8

_PROGRAM: Final = f"""
import threading, time
from cli.shared.output import progress, remark

with progress("film.mp4", "samples") as report:
    for done in range(5):
        report(done, 5)
        time.sleep(0.15)
        thread = threading.Thread(target=remark, args=(f"message {{done}} of [a thread]",))
        thread.start()
        thread.join()
    remark({_LONG!r})
remark("the end")
"""


def test_messages_are_printed_above_the_bar_and_nothing_of_it_remains(tmp_path: Path) -> None:
    """On a terminal each message has lines of its own, whichever thread prints it, and the bar is gone when the work is done."""
    lines = run_on_terminal([sys.executable, "-c", _PROGRAM], Path.cwd())
    expected = [*(f"message {done} of [a thread]" for done in range(5)), _LONG[:80].rstrip(), _LONG[80:].rstrip(), "the end"]
    assert [line for line in lines if line] == expected


def test_the_terminal_shows_what_is_left_after_erasing() -> None:
    """The tests' terminal honours line feeds, carriage returns, erased lines and the end of a line."""
    assert render("one\r\n\x1b[32mtwo\x1b[0m\r\x1b[2K\x1b[1A\x1b[2Kthree", 80) == ["three", ""]
    assert render("abcdef\r\nxyz\rXY", 4) == ["abcd", "ef", "XYz"]
