"""Files that are written whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from core.errors import PermanentError

PARTIAL: Final = ".partial"
"""Ending of a file that is being written; its name begins with a dot. One that does not grow is of a process that was killed."""


def make_parent(path: Path) -> None:
    """Make the folder that a file will lie in: before the work, so that a wrong path does not cost its result.

    Raises:
        PermanentError: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermanentError(f"{path}: cannot be written: {path.parent}: {error.strerror}") from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place and move it there, over one that is there already. Several may write the same file at once.

    Raises:
        PermanentError: it cannot be written.
    """
    make_parent(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise PermanentError(f"{path}: cannot be written: {error.strerror}") from error
