"""Standard output and standard error with secrets masked, in everything that is written to them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from core.redaction import redact


class _Redacted:
    """A text stream that masks secrets. A secret contains no line break, and writers write whole lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(redact(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def redacted_output() -> Iterator[None]:
    """Mask secrets in all that is written while the block runs."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Redacted(sys.stdout), _Redacted(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
