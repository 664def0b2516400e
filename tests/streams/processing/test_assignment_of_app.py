"""The assignment of an app, for every caller at any time."""

import faust
import pytest

from core.settings import KafkaSettings, TopicSettings
from streams.processing.app import ExtentsApp, make_app
from streams.topics import COORDINATOR, Topics


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> ExtentsApp:
    async def assigned(app, assigned, generation_id=0) -> None:
        """Faust's part, which would need brokers."""

    monkeypatch.setattr(faust.App, "_on_partitions_assigned", assigned)
    topics = Topics(TopicSettings(_env_file=None))
    return make_app(COORDINATOR, KafkaSettings(_env_file=None, bootstrap_servers="nobody:1"), topics, partitions=4)


async def test_an_assignment_requested_during_a_rebalance_is_revoked(app: ExtentsApp) -> None:
    """A worker that was idle for a whole generation begins nothing in the moments before its partitions are revoked."""
    app.consumer_generation_id = 5
    app.on_rebalance_start()
    assert app.assignment.revoked
    app.consumer_generation_id = 6
    await app._on_partitions_assigned(set(), 6)
    assert not app.assignment.revoked


async def test_a_recreated_group_counts_from_the_beginning(app: ExtentsApp) -> None:
    """After a rebalance, the same generation is a new assignment."""
    app.consumer_generation_id = 1
    first = app.assignment
    app.on_rebalance_start()
    assert first.revoked
    await app._on_partitions_assigned(set(), 1)
    assert app.assignment is not first
    assert not app.assignment.revoked
