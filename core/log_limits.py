"""Keeps a log readable while something fails continuously: the first messages of a kind are written, the rest counted each minute."""

import logging
import re
import threading
from dataclasses import dataclass
from typing import Any, Final

WINDOW_SECONDS: Final = 60.0

OWN_BURST: Final = 20
"""Warnings of one kind that our modules may write in a window: each is about a record or a run, and a few are worth reading."""

LIBRARY_BURST: Final = 1
"""The same for a library, which repeats a message for each connection and attempt."""

MAX_KINDS: Final = 1000
"""Kinds that are counted separately. All further kinds count as one."""

COUNT_EVENT: Final = "log.repeated"

_DIGITS: Final = re.compile(r"0x[0-9a-f]+|\d+")

Kind = tuple[str, int, str]
"""Logger, level, and the message without its variable parts."""


@dataclass(slots=True)
class _Seen:
    written: int = 0
    withheld: int = 0


class RepeatLimit(logging.Filter):
    """A handler's filter. Thread-safe. A timer, which runs only while something is counted, writes the counts.

    Our events below WARNING, which report completed work, always pass, and so does everything CRITICAL. INFO lines that a
    framework logs under our modules' names concern its own start and stop; they pass only if the log's level is DEBUG.
    """

    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        super().__init__()
        self._window_seconds = window_seconds
        self._lock = threading.Lock()
        self._kinds: dict[Kind, _Seen] = {}
        self._counting = False

    def filter(self, record: logging.LogRecord) -> bool:
        event: Any = record.msg if isinstance(record.msg, dict) else None  # structlog passes its events like this
        own = event is not None
        if own and (record.levelno < logging.WARNING or event.get("event") == COUNT_EVENT):
            return True
        if record.levelno >= logging.CRITICAL:
            return True
        if not own and record.levelno == logging.INFO and _is_of_ours(record.name):
            return logging.getLogger().level <= logging.DEBUG
        return self._passes(_kind(record), OWN_BURST if own else LIBRARY_BURST)

    def _passes(self, kind: Kind, burst: int) -> bool:
        with self._lock:
            if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
                kind = ("", kind[1], "messages of further kinds")
            seen = self._kinds.get(kind)
            if seen is None:
                seen = self._kinds[kind] = _Seen()
                if not self._counting:
                    self._count_later()
            if seen.written < burst:
                seen.written += 1
                return True
            seen.withheld += 1
            return False

    def _count_later(self) -> None:
        self._counting = True
        timer = threading.Timer(self._window_seconds, self._count)
        timer.daemon = True
        timer.start()

    def _count(self) -> None:
        """At the end of a window, write how many messages were withheld, and forget kinds that have become quiet."""
        with self._lock:
            withheld = {kind: seen.withheld for kind, seen in self._kinds.items() if seen.withheld}
            self._kinds = {kind: _Seen(self._kinds[kind].written) for kind in withheld}
            self._counting = False
            if self._kinds:
                self._count_later()
        for (name, level, message), count in withheld.items():
            event = {"event": COUNT_EVENT, "of": message, "count": count, "seconds": self._window_seconds}
            logging.getLogger(name or __name__).log(level, event, extra={"_logger": None, "_name": logging.getLevelName(level).lower()})


def _kind(record: logging.LogRecord) -> Kind:
    message = record.msg.get("event", "") if isinstance(record.msg, dict) else record.msg
    return record.name, record.levelno, _DIGITS.sub("#", str(message))[:200]


def _is_of_ours(name: str) -> bool:
    return name.partition(".")[0] in ("core", "inference", "storage", "streams", "pages", "cli", "devstack", "extents")
