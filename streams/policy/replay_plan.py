"""Plans the requests of a replay, and decides from the database's counts what it may send next. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from core.identity import NAMESPACE, request_id
from core.types import Priority
from streams.records import VideoEncoded

REPLAY_HEADER: Final = "replay_id"
"""Header of requests that a replay sent. A later replay of a topic leaves them out, because their originals are in it as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySource:
    """One past request, or one video that lacks a run.

    Attributes:
        name: where it comes from, as ``topic/partition/offset`` or ``registry/video_id``; part of the new request's id.
        order: greater is newer.
    """

    name: str
    tenant_id: UUID
    video_id: UUID
    cropped_frames_version: int
    frame_count: int
    order: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayItem:
    """One request that a replay will send."""

    source: ReplaySource
    event_id: str
    request_id: UUID
    estimated_cost_usd: float


def newest_of_each_video(sources: Iterable[ReplaySource]) -> list[ReplaySource]:
    newest: dict[UUID, ReplaySource] = {}
    for source in sources:
        present = newest.get(source.video_id)
        if present is None or (source.cropped_frames_version, source.order) > (present.cropped_frames_version, present.order):
            newest[source.video_id] = source
    return list(newest.values())


def plan_items(replay_id: str, sources: Sequence[ReplaySource], usd_per_pair: float) -> list[ReplayItem]:
    """Return the requests of a replay in the order in which they are to be sent.

    They are ordered by a hash of their names, so that the first ones are a fair sample and no tenant's videos form one block.
    A request's id depends only on the replay and the source, so a request that is sent twice is recognised as the same.
    """
    ordered = sorted(sources, key=lambda source: hashlib.sha256(f"{replay_id}/{source.name}".encode()).digest())
    return [_item(replay_id, source, usd_per_pair) for source in ordered]


def _item(replay_id: str, source: ReplaySource, usd_per_pair: float) -> ReplayItem:
    event_id = str(uuid5(NAMESPACE, f"replay/{replay_id}/{source.name}"))
    request = request_id(source.tenant_id, source.video_id, source.cropped_frames_version, event_id)
    return ReplayItem(
        source=source, event_id=event_id, request_id=request, estimated_cost_usd=max(0, source.frame_count - 1) * usd_per_pair
    )


def request_of(item: Mapping[str, Any], replay: Mapping[str, Any]) -> VideoEncoded:
    """Return the record to send for a stored item."""
    return VideoEncoded(
        tenant_id=UUID(item["tenant_id"]),
        video_id=UUID(item["video_id"]),
        cropped_frames_version=item["cropped_frames_version"],
        frame_count=item["frame_count"],
        model_version=replay["model_version"],
        priority=Priority(replay["priority"]),
        force=replay["force"],
        event_id=item["event_id"],
    )


@dataclass(frozen=True, slots=True)
class Send:
    """Send the next ``count`` waiting items in order, as long as their estimates together stay within ``budget_usd``."""

    count: int
    budget_usd: float | None


@dataclass(frozen=True, slots=True)
class Pause:
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing may be sent now."""


@dataclass(frozen=True, slots=True)
class Compare:
    """The sample is complete: compare its results with the previous ones."""


@dataclass(frozen=True, slots=True)
class Complete:
    pass


Step = Send | Pause | Wait | Compare | Complete


def next_step(replay: Mapping[str, Any], progress: Mapping[str, Any], now: datetime, usd_per_gpu_hour: float) -> Step:
    """Decide the coordinator's next step for a replay that is sampling or running.

    Args:
        replay: its row.
        progress: the result of the database's ``replay_progress``.
    """
    sampling = replay["state"] == "sampling"
    in_flight = progress["undecided"] + progress["unfinished"]
    sent = progress["items"] - progress["waiting"]
    goal = min(replay["sample_size"], progress["items"]) if sampling else progress["items"]
    if sampling and progress["sampled"] >= goal:
        return Compare()
    if not progress["waiting"]:
        return Wait() if in_flight else Complete()
    until = replay["until_at"]
    if until is not None and now >= datetime.fromisoformat(until):
        return Pause(f"it is past {until}; resume with another --until")
    room = min(goal - sent, replay["in_flight_limit"] - in_flight)
    if replay["rate_per_minute"] is not None:
        room = min(room, replay["rate_per_minute"] - progress["sent_last_minute"])
    if room <= 0:
        return Wait()
    limit = replay["max_cost_usd"]
    if limit is None:
        return Send(room, None)
    return Send(room, limit - spent_usd(progress, usd_per_gpu_hour))


def spent_usd(progress: Mapping[str, Any], usd_per_gpu_hour: float) -> float:
    """Return the cost of the GPU time used so far, plus the estimates of the items that have no result yet."""
    return float(progress["gpu_seconds"] / 3600 * usd_per_gpu_hour + progress["open_usd"])


def within_budget(items: Sequence[Mapping[str, Any]], budget_usd: float | None) -> list[Mapping[str, Any]]:
    """Return the first items, as long as their estimates together stay within the budget."""
    if budget_usd is None:
        return list(items)
    affordable, total = [], 0.0
    for item in items:
        total += item["estimated_cost_usd"]
        if total > budget_usd:
            break
        affordable.append(item)
    return affordable
