"""Dead letters as stored in their topic, and how to select some of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from streams.topics import Topics


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter as stored in its topic.

    Attributes:
        id: ``partition/offset``, which identifies it in commands.
        origin: ``topic/partition/offset`` where the record was first read.
        handled: the latest action on it (``redriven``, ``discarded``, ``purged``); None if there was none.
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
    """Selects dead letters. A criterion that is None matches all.

    Attributes:
        topic: name of the topic that the record came from, without the prefix.
        ids: select only these, if any are given.
        handled: select handled letters as well.
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


@dataclass(frozen=True, slots=True)
class Subject:
    """The ids by which records name a video, or the videos of a tenant.

    Attributes:
        video_id: None for all videos of the tenant.
        videos, runs: further ids, which identify records that do not name their tenant.
    """

    tenant_id: UUID
    video_id: UUID | None = None
    videos: frozenset[UUID] = frozenset()
    runs: frozenset[UUID] = frozenset()

    def covers(self, letter: StoredLetter) -> bool:
        """Whether a letter's record belongs to the subject, by run, key or fields, or by its text if it cannot be decoded."""
        videos = self._texts(self.videos | ({self.video_id} if self.video_id else set()))
        runs = self._texts(self.runs)
        key = (letter.key or b"").decode(errors="replace").lower()
        if (letter.run_id or "").lower() in runs or key in videos or key.partition(":")[0] in runs:
            return True
        content = _object(letter.value)
        if content is None:  # undecodable: any of the ids in its text counts
            text = letter.value.decode(errors="replace").lower()
            return any(name in text for name in (videos if self.video_id else {str(self.tenant_id), *videos}) | runs)
        tenant, video, run = (str(content.get(name, "")).lower() for name in ("tenant_id", "video_id", "run_id"))
        return run in runs or video in videos or (self.video_id is None and tenant == str(self.tenant_id))

    @staticmethod
    def _texts(ids: frozenset[UUID]) -> frozenset[str]:
        return frozenset(map(str, ids))


def _object(value: bytes) -> dict[str, Any] | None:
    try:
        content = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None
