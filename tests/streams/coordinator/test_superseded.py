"""Changes that a superseded process sent after those of its successor do not mislead the recovery of the table."""

from collections.abc import Callable
from types import SimpleNamespace
from uuid import uuid4

import pytest

from core.settings import KafkaSettings, TopicSettings
from streams.coordinator.run_table import Runs, kind_of
from streams.policy.run_state import RunState
from streams.processing.app import make_app
from streams.processing.changelog import fold_changes
from streams.processing.confirmed_table import ConfirmedTable
from streams.topics import COORDINATOR, Topics

RUN = str(uuid4())


@pytest.fixture(params=[True, False], ids=["in one poll", "poll by poll"])
def recovered(request) -> Callable[..., Runs]:
    """The table after reading a changelog of these keys and values."""

    def recover(*records: tuple[str, bytes | None]) -> Runs:
        topics = Topics(TopicSettings(_env_file=None))
        app = make_app(COORDINATOR, KafkaSettings(_env_file=None, bootstrap_servers="nobody:1"), topics, partitions=4)
        runs = Runs(app, topics)
        read = [SimpleNamespace(partition=0, key=key.encode(), value=value) for key, value in records]
        for batch in [read] if request.param else [[record] for record in read]:
            runs._table.absorb(fold_changes(batch, kind_of))
        return runs

    return recover


def state(offset: int, attempt: int = 1, **fields: object) -> tuple[str, bytes]:
    return RUN, RunState(run_id=RUN, attempt=attempt, offset=offset, **fields).to_bytes()


def test_a_state_does_not_go_back(recovered):
    """Of two states of a run, the one folded further counts, whatever their order."""
    runs = recovered(state(5, done=[0]), state(9, finished_at_ms=1), state(6, done=[0, 1]))
    assert runs.get(RUN).offset == 9
    assert runs.get(RUN).is_marker


def test_a_state_goes_forward(recovered):
    """A state that is folded further replaces the former one, and a removed run is gone."""
    assert recovered(state(5), state(9)).get(RUN).offset == 9
    assert recovered(state(5), (RUN, None)).get(RUN) is None
    assert recovered(state(5), (RUN, None), state(3)).get(RUN).offset == 3


def test_an_outdated_state_is_written_over(recovered, monkeypatch):
    """Compaction keeps the last record of a key, so the state that counts is sent again behind an outdated one, and only then."""
    written = []
    monkeypatch.setattr(ConfirmedTable, "send_changelog", lambda _, partition, key, value, **__: written.append((partition, key, value)))
    runs = recovered(state(5), state(9), state(6))
    runs._table.rewrite_outdated(lambda key: 3)
    assert written == [(3, RUN.encode(), state(9)[1])]
    runs._table.rewrite_outdated(lambda key: 3)
    recovered(state(5), state(9), state(6), state(11))._table.rewrite_outdated(lambda key: 3)
    recovered(state(9), state(6), (RUN, None))._table.rewrite_outdated(lambda key: 3)
    assert len(written) == 1


def test_results_of_another_attempt_are_not_removed(recovered):
    """Late removal of a failed attempt's results does not affect those of the next attempt."""
    runs = recovered((f"{RUN}/1/0", b"old"), state(5), state(9, attempt=2), (f"{RUN}/2/0", b"new"), (f"{RUN}/1/0", None))
    assert runs.get_span(RUN, 2, 0) == b"new"
    assert not runs.has_span(RUN, 1, 0)
