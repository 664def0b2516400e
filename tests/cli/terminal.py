"""A terminal for programs that draw on one: runs them on a pseudo-terminal and returns the lines that a person would see."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.cli.processes import TIMEOUT_SECONDS, clean_environment

_PARTS: Final = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]")


def run_on_terminal(arguments: Sequence[str], folder: Path, columns: int = 80, env: Mapping[str, str] | None = None) -> list[str]:
    """Run a program to its end on a terminal of this width, and return its lines from the first to the last."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    variables = {name: value for name, value in clean_environment(env).items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(arguments, cwd=folder, env={**variables, "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    data = bytearray()
    try:
        while part := _read(ours):
            data += part
        process.wait(TIMEOUT_SECONDS)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return render(data.decode(), columns)


def render(written: str, columns: int) -> list[str]:
    """The lines that these characters leave on a terminal. Knows what rich's bars use: cursor up, erase line, erase to its end."""
    lines: list[list[str]] = [[]]
    row = column = 0
    for match in _PARTS.finditer(written):
        count, command, text = match[1], match[2], match[0]
        if command == "A":
            row = max(0, row - int(count or 1))
        elif command == "K":
            del lines[row][0 if count == "2" else column :]
        elif command is not None:
            pass  # colours, and whether the cursor is visible
        elif text == "\r":
            column = 0
        else:
            if text == "\n" or column == columns:
                row, column = row + 1, 0
                lines += [[] for _ in range(row + 1 - len(lines))]
            if text != "\n":
                lines[row] += [" "] * (column + 1 - len(lines[row]))
                lines[row][column] = text
                column += 1
    return ["".join(line).rstrip() for line in lines]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the last process with the terminal has ended
        return b""
