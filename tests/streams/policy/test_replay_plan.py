"""What a replay consists of and what it may send next, with plain values."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from streams.policy.replay_plan import (
    Compare,
    Complete,
    Pause,
    ReplaySource,
    Send,
    Wait,
    newest_of_each_video,
    next_step,
    plan_items,
    within_budget,
)

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
TENANT = UUID(int=1)


def source(video: UUID | None = None, version: int = 1, offset: int = 0) -> ReplaySource:
    return ReplaySource(
        name=f"video.encoded/0/{offset}",
        tenant_id=TENANT,
        video_id=video or uuid4(),
        cropped_frames_version=version,
        frame_count=101,
        order=(offset,),
    )


def replay(**changes: Any) -> dict[str, Any]:
    limits = {"rate_per_minute": None, "in_flight_limit": 20, "max_cost_usd": None, "until_at": None, "sample_size": 0}
    return {"state": "running", **limits, **changes}


def progress(items: int = 100, waiting: int = 100, **changes: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("undecided", "unfinished", "sent_last_minute", "sampled", "gpu_seconds", "open_usd"), 0)
    return {"items": items, "waiting": waiting, **counts, **changes}


def step(row: dict[str, Any], figures: dict[str, Any]) -> object:
    return next_step(row, figures, NOW, 3600.0)


def test_the_newest_frames_of_each_video_are_kept() -> None:
    """Each video has one source: the latest version, and of that the latest record."""
    video = uuid4()
    kept = newest_of_each_video([source(video, 2, 3), source(video, 1, 9), source(video, 2, 5), source(offset=1)])
    assert sorted(source.order for source in kept) == [(1,), (5,)]


def test_a_request_is_named_by_its_replay_and_source() -> None:
    """A plan with the same name gives the same request; another name gives another request."""
    sources = [source(offset=offset) for offset in range(5)]
    once, again, other = (plan_items(name, sources, 0.01) for name in ("a", "a", "b"))
    assert once == again
    assert {item.request_id for item in once}.isdisjoint(item.request_id for item in other)
    assert {item.estimated_cost_usd for item in once} == {1.0}


@pytest.mark.parametrize(
    ("row", "figures", "expected"),
    [
        (replay(), progress(), Send(20, None)),
        (replay(), progress(waiting=90, undecided=4, unfinished=6), Send(10, None)),
        (replay(), progress(waiting=80, unfinished=20), Wait()),
        (replay(rate_per_minute=30), progress(waiting=72, sent_last_minute=28), Send(2, None)),
        (replay(rate_per_minute=30), progress(waiting=70, sent_last_minute=30), Wait()),
        (replay(), progress(waiting=0, unfinished=1), Wait()),
        (replay(), progress(waiting=0), Complete()),
        (replay(max_cost_usd=10.0), progress(waiting=98, gpu_seconds=4, open_usd=2.5), Send(20, 3.5)),
        (replay(until_at="2026-11-28T12:30:00+00:00"), progress(), Send(20, None)),
        (replay(state="sampling", sample_size=5), progress(waiting=97), Send(2, None)),
        (replay(state="sampling", sample_size=5), progress(waiting=95, unfinished=2, sampled=3), Wait()),
        (replay(state="sampling", sample_size=5), progress(waiting=95, sampled=5), Compare()),
        (replay(state="sampling", sample_size=500), progress(waiting=0, sampled=100), Compare()),
    ],
)
def test_a_replay_sends_no_more_than_it_may(row: dict[str, Any], figures: dict[str, Any], expected: object) -> None:
    """The limits are runs in flight, rate, cost and the sample, whichever allows least."""
    assert step(row, figures) == expected


def test_a_replay_stops_when_its_time_is_over() -> None:
    """The replay pauses and says how to continue it."""
    paused = step(replay(until_at="2026-11-28T06:00:00+00:00"), progress())
    assert isinstance(paused, Pause)
    assert "--until" in paused.reason


def test_what_is_dearer_than_the_rest_of_the_budget_waits() -> None:
    """The first items that fit together are sent, in order."""
    items = [{"estimated_cost_usd": cost} for cost in (1.0, 2.0, 0.5)]
    assert within_budget(items, None) == items
    assert within_budget(items, 3.2) == items[:2]
    assert within_budget(items, 0.9) == []
