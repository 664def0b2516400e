"""What is read from a changelog, folded in the consumer's thread and absorbed by the table, without a broker."""

import asyncio
from types import SimpleNamespace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import markers
from core.settings import KafkaSettings, TopicSettings
from streams.coordinator.run_table import IN_FLIGHT, MARKER, SPAN, Runs, kind_of
from streams.processing.app import make_app
from streams.processing.changelog import fold_changes, replaces
from streams.processing.confirmed_table import ConfirmedTable
from streams.processing.partitioned_values import DROPPED_AT_ONCE, PartitionedValues
from streams.topics import COORDINATOR, Topics

KEYS = (b"run-a", b"run-b", b"run-a/1/0")


def make_runs() -> Runs:
    topics = Topics(TopicSettings(_env_file=None))
    return Runs(make_app(COORDINATOR, KafkaSettings(_env_file=None, bootstrap_servers="nobody:1"), topics, partitions=4), topics)


@pytest.fixture(scope="module")
def table() -> ConfirmedTable:
    return make_runs()._table


def state(offset: int, finished: bool) -> bytes:
    return orjson.dumps({"offset": offset, **({"finished_at_ms": 1} if finished else {}), "requests": []})


values = st.none() | st.builds(state, st.integers(0, 5), st.booleans())
polls_of_records = st.lists(st.lists(st.tuples(st.sampled_from(KEYS), values), min_size=1), max_size=4)


@given(polls=polls_of_records)
def test_polls_are_absorbed_as_if_record_by_record(table, polls):
    """However a changelog is cut into polls, the table holds the content of its records in order, and knows each key's kind."""
    table.held, table.outdated = PartitionedValues(), set()
    expected, outdated = dict[bytes, bytes](), set[bytes]()
    for poll in polls:
        for key, value in poll:
            if value is None:
                expected.pop(key, None)
            elif key in expected and not replaces(key, value, expected[key]):
                outdated.add(key)
                continue
            else:
                expected[key] = value
            outdated.discard(key)
        table.absorb(fold_changes([SimpleNamespace(partition=3, key=key, value=value) for key, value in poll], kind_of))
    held = table.held
    assert dict(held) == expected
    assert len(held) == len(expected)
    assert table.outdated == outdated
    for kind in (SPAN, IN_FLIGHT, MARKER):
        assert set(held.keys_of(kind, 3)) == {key for key, value in expected.items() if kind_of(key, value) == kind}


def test_a_record_without_a_key_is_skipped():
    """A table writes no such record, so another client has; the records around it count."""
    records = [SimpleNamespace(partition=0, key=key, value=b"x") for key in (b"a/1/0", None, b"b/1/0")]
    assert fold_changes(records, kind_of).values == {SPAN: {b"a/1/0": b"x", b"b/1/0": b"x"}}


def test_markers_come_in_the_order_in_which_they_were_written():
    """The sweep checks first what expires first; a marker that is written again expires later."""
    held = PartitionedValues()
    held.put_new(0, MARKER, {b"a": b"", b"b": b"", b"c": b""})
    held.put(0, MARKER, b"a", b"")
    assert held.keys_of(MARKER, 0) == [b"b", b"c", b"a"]
    assert held.keys_of(MARKER, 1) == []


def test_lost_partitions_are_dropped_in_steps():
    """No step drops more than its share, and the next rebalance drops what an interrupted one has left."""
    held = PartitionedValues()
    for partition in (0, 1):
        held.put_new(partition, SPAN, {b"%d/%d" % (partition, number): b"" for number in range(2 * DROPPED_AT_ONCE + 1)})
    kept = len(held) // 2
    next(iter(held.drop_all_but({1})))
    assert len(held) == 2 * kept - DROPPED_AT_ONCE
    assert len(list(held.drop_all_but({1}))) == 2
    assert len(held) == kept
    assert b"0/0" not in held
    assert held[b"1/0"] == b""
    with pytest.raises(KeyError):
        held[b"0/0"]


def test_a_rebalance_does_not_look_at_each_marker():
    """The event loop spends less than a microsecond on each marker gained or lost; parsing one takes fourteen."""
    count, topics, runs = 100_000, Topics(TopicSettings(_env_file=None)), make_runs()
    asyncio.run(markers.lose_half(make_runs(), topics))  # what is done once in a process
    gained = markers.recover(runs, count, topics)
    assert len(runs._table.held) == count + markers.IN_FLIGHT
    lost = asyncio.run(markers.lose_half(runs, topics))
    assert len(runs._table.held) == (count + markers.IN_FLIGHT) // 2
    assert len(runs.active) == pytest.approx(markers.IN_FLIGHT / 2, abs=len(lost))
    assert sum(gained) < 0.1, sum(gained)
    assert sum(lost) < 0.1, sum(lost)
