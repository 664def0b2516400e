"""Markers of finished runs are removed once no late record can need them, at a cost that depends only on the expired ones."""

from types import SimpleNamespace

import faust
import pytest

from core.settings import KafkaSettings, TopicSettings
from core.types import Outcome
from streams.agents.aggregate import MARKER_KEPT_MS, SWEEP_EVERY_MS, SWEPT_AT_ONCE, Aggregation
from streams.coordinator.run_table import Runs, kind_of
from streams.policy.run_state import RunState
from streams.processing.app import make_app
from streams.processing.changelog import fold_changes
from streams.topics import COORDINATOR, Topics

PARTITION = 3
START_MS = 1_767_323_045_000


class Sweeping:
    """An aggregation over a table read from its changelog, which counts the markers that the sweep checks."""

    def __init__(self, *states: RunState) -> None:
        topics = Topics(TopicSettings(_env_file=None))
        app = make_app(COORDINATOR, KafkaSettings(_env_file=None, bootstrap_servers="nobody:1"), topics, partitions=4)
        self.runs = Runs(app, topics)
        read = [SimpleNamespace(partition=PARTITION, key=state.run_id.encode(), value=state.to_bytes()) for state in states]
        self.runs._table.absorb(fold_changes(read, kind_of))
        self.looked_at = 0
        get = self.runs.get

        def counted(run_id: str) -> RunState | None:
            self.looked_at += 1
            return get(run_id)

        self.runs.get = counted
        nothing = SimpleNamespace()
        self.aggregation = Aggregation(self.runs, nothing, nothing, nothing, nothing)
        self.aggregation._sweep(PARTITION, START_MS)  # the first record only starts the clock

    def handle_record(self, at_ms: int) -> None:
        self.aggregation._sweep(PARTITION, at_ms)

    @property
    def left(self) -> list[str]:
        return [key.decode() for key in self.runs._table.held]


@pytest.fixture(autouse=True)
def _nothing_is_sent(monkeypatch) -> None:
    """Makes changes while a record is handled, and keeps them in this process."""
    confirmed = SimpleNamespace(message=SimpleNamespace(partition=PARTITION))
    monkeypatch.setattr(faust.Table, "send_changelog", lambda *_, **__: confirmed)
    monkeypatch.setattr(faust.Table, "partition_for_key", lambda *_: PARTITION)


def marker(number: int, finished_at_ms: int) -> RunState:
    return RunState(run_id=f"run-{number}", attempt=1, offset=number, outcome=Outcome.COMPLETED, finished_at_ms=finished_at_ms)


def test_expired_markers_go_a_few_with_each_record():
    """The oldest go first; no record checks more than its share, and runs in flight stay, however old."""
    flying = RunState(run_id="in flight", attempt=1, offset=0)
    sweeping = Sweeping(flying, *(marker(number, START_MS - MARKER_KEPT_MS) for number in range(2 * SWEPT_AT_ONCE + 1)))
    for rest in (SWEPT_AT_ONCE + 1, 1, 0, 0):
        sweeping.handle_record(START_MS + SWEEP_EVERY_MS)
        assert len(sweeping.left) == rest + 1
    assert sweeping.left == ["in flight"]
    assert sweeping.looked_at == 2 * SWEPT_AT_ONCE + 1


def test_the_sweep_ends_at_the_first_markers_that_are_kept():
    """Thousands of markers that have not expired are not checked each hour, because they are in the order in which their runs finished."""
    expired = [marker(number, START_MS - MARKER_KEPT_MS) for number in range(10)]
    sweeping = Sweeping(*expired, *(marker(number, START_MS) for number in range(10, 5_000)))
    for hour in (1, 2, 3):
        for _ in range(10):
            sweeping.handle_record(START_MS + hour * SWEEP_EVERY_MS)
    assert len(sweeping.left) == 4_990
    assert sweeping.looked_at <= 10 + 6 * SWEPT_AT_ONCE


def test_some_markers_with_impossible_times_do_not_end_the_sweep():
    """Producers' clocks may be wrong: expired markers behind a few wrong ones are still removed."""
    ahead = [marker(number, 2**50) for number in range(SWEPT_AT_ONCE // 2)]
    sweeping = Sweeping(*ahead, *(marker(number, START_MS - MARKER_KEPT_MS) for number in range(100, 300)))
    for _ in range(10):
        sweeping.handle_record(START_MS + SWEEP_EVERY_MS)
    assert sweeping.left == [state.run_id for state in ahead]
