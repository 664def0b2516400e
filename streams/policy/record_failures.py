"""Records whose handling fails unexpectedly: how often they were tried, and when there are too many of them. Pure."""

import errno
import traceback
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import orjson

from core.errors import ConfigurationError, ExtentsError

UNEXPECTED: Final = "unexpected"
"""The reason of a dead letter whose record failed unexpectedly, by a fault of the service."""

MAX_NOTED: Final = 100
"""How many failing records a partition's note names. Brokers accept notes of up to 4 KB (``offset.metadata.max.bytes``)."""

WINDOW: Final = 1000
"""The number of latest records of which a share may fail."""

_MACHINE_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class TooManyFailuresError(ExtentsError):
    """So many records fail that the release or the machine must be at fault, not the records."""


def ends_process(error: Exception) -> bool:
    """Whether an error is about the settings or the machine, so that every other record would cause it too."""
    return isinstance(error, ConfigurationError) or (isinstance(error, OSError) and error.errno in _MACHINE_ERRNOS)


@dataclass(frozen=True, slots=True)
class PartitionFailures:
    """The failures of one partition, as noted beside its committed offset.

    The group's offset carries the note, so it outlives every process and moves to the partition's next owner.

    Attributes:
        tries: failed tries of records that are not acknowledged yet, by offset.
        in_a_row: records given up since the last one that was handled.
    """

    tries: Mapping[int, int] = field(default_factory=dict)
    in_a_row: int = 0

    def failed(self, offset: int) -> "PartitionFailures":
        """One more failed try of a record."""
        return replace(self, tries={**self.tries, offset: self.tries.get(offset, 0) + 1})

    def gave_up(self, offset: int) -> "PartitionFailures":
        return PartitionFailures({other: tries for other, tries in self.tries.items() if other != offset}, self.in_a_row + 1)

    def handled(self, offset: int) -> "PartitionFailures":
        if not self.in_a_row and offset not in self.tries:
            return self
        return PartitionFailures({other: tries for other, tries in self.tries.items() if other != offset})

    def note(self, committed: int) -> str:
        """The text beside a committed offset. Failures before the offset are left out."""
        ahead = sorted((offset, tries) for offset, tries in self.tries.items() if offset >= committed)[:MAX_NOTED]
        if not ahead and not self.in_a_row:
            return ""
        return orjson.dumps({"in_a_row": self.in_a_row, "tries": ahead}).decode()

    @classmethod
    def from_note(cls, note: str) -> "PartitionFailures":
        """The inverse of ``note``. Any other text means no failures, because other tools may attach their own text to an offset."""
        try:
            read = orjson.loads(note)
            return cls({int(offset): int(tries) for offset, tries in read["tries"]}, int(read["in_a_row"]))
        except (ValueError, TypeError, KeyError):
            return cls()


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """How often a failing record is tried, and how many may be given up before the process stops.

    Attributes:
        tries: tries of one record, in all processes together.
        in_a_row: consecutive records that may be given up.
        per_thousand: how many of the last thousand records may be given up.
    """

    tries: int
    in_a_row: int
    per_thousand: int


class FailureLimit:
    """Counts the records of one topic that this process handled and gave up."""

    def __init__(self, policy: FailurePolicy) -> None:
        self._policy = policy
        self._in_a_row = 0
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._given_up = 0

    def handled(self) -> None:
        self._in_a_row = 0
        self._count(given_up=False)

    def check(self, noted_in_a_row: int, topic: str, error: Exception) -> None:
        """Check that one more record may be given up.

        Args:
            noted_in_a_row: consecutive records of the partition that were given up, also by earlier processes.

        Raises:
            TooManyFailuresError: too many have been given up.
        """
        in_a_row = max(self._in_a_row, noted_in_a_row)
        if in_a_row >= self._policy.in_a_row:
            failures = f"{in_a_row} records in a row"
            setting = f"EXTENTS_UNEXPECTED_IN_A_ROW ({self._policy.in_a_row})"
        elif self._given_up >= self._policy.per_thousand:
            failures = f"{self._given_up} of the last {len(self._recent)} records"
            setting = f"EXTENTS_UNEXPECTED_PER_THOUSAND ({self._policy.per_thousand})"
        else:
            return
        raise TooManyFailuresError(
            f"{failures} of {topic} failed unexpectedly and became dead letters; the next one fails with {error!r}. "
            f"Its offset is held and the process stops: check this release, and the dead letters of reason {UNEXPECTED}. "
            f"The limit is {setting}."
        )

    def gave_up(self) -> None:
        self._in_a_row += 1
        self._count(given_up=True)

    def _count(self, *, given_up: bool) -> None:
        if len(self._recent) == WINDOW:
            self._given_up -= self._recent[0]
        self._recent.append(given_up)
        self._given_up += given_up


def describe_failure(error: Exception, tries: int) -> str:
    """What a dead letter and a rejection say about the failure."""
    return f"handling the record failed unexpectedly {tries} times, the last time with {type(error).__name__}: {str(error)[:300]}"


def traceback_of(error: Exception, limit_bytes: int = 8192) -> bytes:
    """The end of an error's traceback, which says where it was raised."""
    return "".join(traceback.format_exception(error)).encode(errors="replace")[-limit_bytes:]
