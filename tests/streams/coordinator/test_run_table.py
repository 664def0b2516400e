"""The table of runs with a real broker: which changes are confirmed, and whose keys are kept."""

import asyncio
from collections.abc import Callable
from uuid import UUID, uuid4

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from core.logging import configure_logging
from core.settings import ProcessSettings
from core.types import Outcome
from streams.coordinator.run_table import Runs
from streams.kafka.connection import client_options
from streams.kafka.topic_admin import ensure_topics
from streams.policy.run_state import RunState
from streams.processing.app import make_app
from streams.topics import COORDINATOR
from tests.streams.conftest import running
from tests.streams.run_logs import failed, request
from tests.streams.waiting import until

SPAN = b"{}\n" + bytes(4000)


class Worker:
    """Keeps a state and one span for every run in the results topic."""

    def __init__(self, kafka, topics) -> None:
        self.app = make_app(COORDINATOR, kafka, topics, partitions=4)
        self.runs = Runs(self.app, topics)
        self.written: list[str] = []
        self.confirmed: list[str] = []
        self._confirming: set[asyncio.Task[None]] = set()

        @self.app.agent(self.app.raw_topic(topics.results), name="write")
        async def write(stream) -> None:
            async for event in stream.noack().events():
                run_id = event.value.decode()
                self.runs.put_span(run_id, 1, 0, SPAN)
                self.runs.put(RunState(run_id=run_id, attempt=1, offset=event.message.offset, requests=[request(1)]))
                self.written.append(run_id)
                self._confirming.add(asyncio.create_task(self._confirm(event, stream, run_id)))

    async def _confirm(self, event, stream, run_id: str) -> None:
        await self.runs.confirmed()
        self.confirmed.append(run_id)
        await stream.ack(event)

    @property
    def partitions(self) -> set[int]:
        return {tp.partition for tp in self.app.consumer.assignment() if tp.topic.endswith("inference.results")}


@pytest.fixture
async def worker(kafka, topics) -> Callable[[], Worker]:
    await ensure_topics([spec for spec in topics.specs() if spec.name in (topics.results, topics.runs_changelog)], kafka)
    return lambda: Worker(kafka, topics)


@pytest.fixture
def put(send, topics):
    """Sends a record of a run to its partition of the results topic."""

    async def send_record(run_id: UUID) -> None:
        text = str(run_id)
        await send(topics.results, text.encode(), partition=topics.results_partition(text), key=text.encode())

    return send_record


async def read_changelog(kafka, topics) -> list[tuple[int, bytes, bytes | None]]:
    """Every change, including tombstones."""
    partitions = [TopicPartition(topics.runs_changelog, number) for number in range(topics.settings.results_partitions)]
    async with AIOKafkaConsumer(**client_options(kafka), enable_auto_commit=False) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        changes: list[tuple[int, bytes, bytes | None]] = []
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                changes += [(tp.partition, record.key, record.value) for record in records]
    return changes


async def test_confirmed_waits_until_the_brokers_have_every_change(stack, worker, start, put, topics, kafka):
    """While the broker does not respond, a change is not confirmed; once it responds, the change is confirmed and in the changelog."""
    own, first, second = worker(), uuid4(), uuid4()
    await start(own.app)
    await put(first)
    await until(lambda: own.confirmed == [str(first)])
    broker = stack.broker(1)
    frozen = asyncio.Event()
    send_changelog = own.runs._table.send_changelog

    def freeze_before(*arguments, **options):
        if not frozen.is_set():
            broker.freeze()
            frozen.set()
        return send_changelog(*arguments, **options)

    own.runs._table.send_changelog = freeze_before
    try:
        await put(second)
        await asyncio.wait_for(frozen.wait(), 30)
        await until(lambda: str(second) in own.written)
        await asyncio.sleep(1.0)
        assert own.confirmed == [str(first)]
    finally:
        await asyncio.to_thread(broker.thaw)
    await until(lambda: own.confirmed == [str(first), str(second)])
    changes = await read_changelog(kafka, topics)
    for run_id in (first, second):
        partition = topics.results_partition(str(run_id))
        assert (partition, f"{run_id}/1/0".encode(), SPAN) in changes
        stored = [RunState.model_validate_json(value) for _, key, value in changes if key == str(run_id).encode() and value]
        assert [state.run_id for state in stored] == [str(run_id)]


def assigned(own: Worker, topics) -> set[int]:
    """Partitions of which the store has keys."""
    return {topics.results_partition(key.decode().partition("/")[0]) for key in own.runs._table.data}


async def test_keys_of_lost_partitions_are_forgotten_and_recovered(worker, start, put, topics, kafka):
    """A process that loses a partition drops its runs without tombstones; the new owner has them, and so has a returning one."""
    ids = [uuid4() for _ in range(12)]
    by_partition = {number: {str(run) for run in ids if topics.results_partition(str(run)) == number} for number in (0, 1)}
    assert all(by_partition.values())
    own, other = worker(), worker()
    await start(own.app)
    for run_id in ids:
        await put(run_id)
    await until(lambda: len(own.confirmed) == len(ids))
    assert set(own.runs.active) == by_partition[0] | by_partition[1]

    def has_its_own(each: Worker) -> bool:
        expected = set().union(*(by_partition[number] for number in each.partitions))
        return assigned(each, topics) == each.partitions and set(each.runs.active) == expected

    async with running(other.app):
        await until(lambda: len(own.partitions) == len(other.partitions) == 1 and own.partitions != other.partitions)
        await until(lambda: has_its_own(own) and has_its_own(other))
        for each in (own, other):
            assert all(each.runs.get_span(run_id, 1, 0) == SPAN for run_id in each.runs.active)

    await until(lambda: own.partitions == {0, 1} and has_its_own(own))
    assert all(own.runs.get_span(str(run_id), 1, 0) == SPAN for run_id in ids)
    assert all(value is not None for _, _, value in await read_changelog(kafka, topics))


async def test_a_state_that_cannot_be_read_fails_its_run_and_no_other(worker, start, send, topics, kafka, capfd):
    """A coordinator starts although a state is unreadable: it logs key and position, keeps the requests, and skips rubbish."""
    configure_logging(ProcessSettings(_env_file=None))
    broken, good = str(uuid4()), str(uuid4())
    body = orjson.loads(RunState(run_id=broken, attempt=3, offset=41, requests=[request(1)]).to_bytes())
    states = {
        broken: orjson.dumps({**body, "started": {"estimated_cost_usd": None}}),
        good: RunState(run_id=good, attempt=1, offset=7, requests=[request(2)]).to_bytes(),
        "no run": b"no state",
    }
    for key, value in states.items():
        await send(topics.runs_changelog, value, partition=topics.results_partition(key), key=key.encode())
    own = worker()
    await start(own.app)
    await until(lambda: set(own.runs.active) == {broken, good})
    state = own.runs.active[broken]
    assert (state.attempt, state.offset, state.outcome, state.requests) == (3, 41, Outcome.FAILED, [request(1)])
    assert "cannot be read" in (state.reason or "")
    assert own.runs.active[good].offset == 7
    logged = [line for line in capfd.readouterr().err.splitlines() if "run.state_unreadable" in line]
    assert any(broken in line and '"offset":41' in line for line in logged), logged


def test_markers_are_recognised_by_their_bytes():
    """Whatever texts and headers a state contains, its bytes distinguish a marker from a run in flight."""
    texts = ['"finished_at_ms":1,"requests":[]', '\\"finished_at_ms":1', ""]
    for text in texts:
        for finished_at_ms in (None, 5):
            for requests in ([], [request(1, event_id=text or "event")]):
                state = RunState(run_id=str(uuid4()), attempt=1, offset=1, reason=text, finished_at_ms=finished_at_ms, requests=requests)
                assert RunState.is_marker_text(state.to_bytes()) == state.is_marker
    failure = failed(0, final=True).model_copy(update={"work_headers": {"finished_at_ms": "1", "requests": "[]"}})
    state = RunState(run_id=str(uuid4()), attempt=1, offset=1, outcome=Outcome.FAILED, failure=failure)
    assert not RunState.is_marker_text(state.to_bytes())
