"""Files that are written whole or not at all."""

import contextlib
import os
from pathlib import Path

from core.errors import PermanentError


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
    """Write a file beside its place and move it there, over one that is there already. Several processes may do so at once.

    Raises:
        PermanentError: it cannot be written.
    """
    make_parent(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise PermanentError(f"{path}: cannot be written: {error.strerror}") from error
