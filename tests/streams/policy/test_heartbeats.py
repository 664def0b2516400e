"""Which workers exist according to heartbeats, in which state, and how long each was up on each day."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.workers import WorkerState
from streams.policy.heartbeats import DAYS_BACK, SHOWN_FOR, hours_by_day, seen_workers
from tests.streams.heartbeats import NOW, received

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.mark.parametrize(
    ("fields", "age", "state"),
    [
        ({}, 30 * SECOND, WorkerState.READY),
        ({}, 31 * SECOND, WorkerState.GONE),
        ({"beat_seconds": 60.0}, 31 * SECOND, WorkerState.READY),
        ({"waits": ["group: has not been joined yet"]}, SECOND, WorkerState.WAITING),
        ({"faults": ["fetch x runs 3 s over its limit"], "waits": ["y: z"]}, SECOND, WorkerState.FAULT),
        ({"stopping": True, "waits": ["y: z"]}, SECOND, WorkerState.STOPPING),
        ({"stopping": True}, MINUTE, WorkerState.GONE),
    ],
)
def test_states(fields, age, state):
    """A worker is gone after three missed heartbeats, whatever it last reported; a fault counts more than a wait."""
    (worker,) = seen_workers([received(age, **fields)], NOW)
    assert worker.state(NOW) is state
    assert worker.as_json(NOW)["state"] == state
    assert worker.as_json(NOW)["beat_age_seconds"] == age.total_seconds()


def test_an_ended_worker_is_not_shown():
    """A worker that announced its end is not shown, however recent its last heartbeat is."""
    assert seen_workers([received(ended=True)], NOW) == []


def test_a_worker_that_has_gone_is_shown_for_an_hour():
    """A worker that has gone is shown for an hour, and no longer."""
    assert len(seen_workers([received(SHOWN_FOR)], NOW)) == 1
    assert seen_workers([received(SHOWN_FOR + SECOND)], NOW) == []


def test_a_restarted_process_replaces_the_one_that_has_gone():
    """A container that crashes repeatedly has the same name each time; two living processes with one name are both shown."""
    crashed = [received(timedelta(minutes=age), uptime_seconds=5.0) for age in (3, 2, 1)]
    (worker,) = seen_workers([*crashed, received(uptime_seconds=5.0)], NOW)
    assert worker.state(NOW) is WorkerState.READY
    assert len(seen_workers(crashed, NOW)) == 1
    assert len(seen_workers([received(), received(SECOND)], NOW)) == 2
    assert len(seen_workers([received(), received(MINUTE, worker="gpu-2:17")], NOW)) == 2


def test_workers_are_ordered_by_role_and_name():
    """The order is the same each time the list is shown."""
    beats = [received(worker="b:1"), received(worker="a:1"), received(worker="c:1", role="coordinator")]
    assert [worker.worker for worker in seen_workers(beats, NOW)] == ["c:1", "a:1", "b:1"]


def test_hours_are_split_at_midnight():
    """A heartbeat gives the hours of all days of its process, in UTC."""
    beat = received(now=datetime(2026, 3, 2, 1, tzinfo=UTC), uptime_seconds=26 * 3600.0)
    hours = {date(2026, 2, 28): 3600.0, date(2026, 3, 1): 86_400.0, date(2026, 3, 2): 3600.0}
    assert dict(hours_by_day(beat)) == hours
    assert dict(hours_by_day(received(uptime_seconds=0.0))) == {}


@given(st.floats(0, 1e15), st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)))
def test_no_heartbeat_makes_more_than_a_month_of_hours(uptime, now):
    """For any uptime the days are consecutive, none has more than 24 hours, and their sum is the uptime."""
    days = list(hours_by_day(received(now=now, uptime_seconds=uptime)))
    assert len(days) <= DAYS_BACK + 1
    assert all(0 < seconds <= 86_400 for _, seconds in days)
    assert [day for day, _ in days] == sorted({day for day, _ in days})
    assert sum(seconds for _, seconds in days) == pytest.approx(min(uptime, DAYS_BACK * 86_400), abs=1e-3)
