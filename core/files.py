"""Writes files atomically."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from core.errors import PermanentError

PARTIAL: Final = ".partial"
"""Suffix of a file that is being written; its name begins with a dot. A stale file was left by a killed process."""


def make_parent(path: Path) -> None:
    """Create the folder of a file. Call it before the work, so that a wrong path does not cost the result.

    Raises:
        PermanentError: the folder cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermanentError(f"{path}: cannot be written: {path.parent}: {error.strerror}") from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a temporary file next to the target and rename it, replacing an existing file. Concurrent writers are safe.

    A link stays, and its target is replaced. A device or pipe such as ``/dev/stdout`` is written to directly.

    Raises:
        PermanentError: the file cannot be written.
    """
    make_parent(path)
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        partial.write_bytes(data)
        partial.replace(target)
    except OSError as error:
        raise PermanentError(f"{path}: cannot be written: {error.strerror}") from error
    finally:  # also after Ctrl-C during the write
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
