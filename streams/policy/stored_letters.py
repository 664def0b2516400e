"""Dead letters as they lie in their topic, and how to select some of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from streams.topics import Topics


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter as it lies in its topic.

    Attributes:
        id: ``partition/offset``, by which commands name it.
        origin: ``topic/partition/offset`` where the record was first read.
        handled: what was done about it last (``redriven``, ``discarded``), None while nothing was.
        redriven: how often it was redriven.
    """

    id: str
    dead_lettered_at: datetime
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes]
    handled: str | None = None
    redriven: int = 0

    @property
    def origin(self) -> str:
        return self.header("origin")

    @property
    def topic(self) -> str:
        return self.origin.rsplit("/", 2)[0]

    @property
    def reason(self) -> str:
        return self.header("reason")

    @property
    def error(self) -> str:
        return self.header("error")

    @property
    def run_id(self) -> str | None:
        return self.header("run_id") or None

    def header(self, name: str) -> str:
        return self.headers.get(name, b"").decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant; what is None does not matter.

    Attributes:
        topic: name of the topic the record came from, without the prefix.
        ids: these alone.
        handled: also those that have been dealt with.
    """

    topic: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ids: tuple[str, ...] = ()
    handled: bool = False

    def covers(self, letter: StoredLetter, topics: Topics) -> bool:
        return (
            (self.topic is None or letter.topic == topics.name(self.topic))
            and (self.reason is None or letter.reason == self.reason)
            and (self.since is None or letter.dead_lettered_at >= self.since)
            and (self.until is None or letter.dead_lettered_at < self.until)
            and (not self.ids or letter.id in self.ids)
            and (self.handled or letter.handled is None)
        )
