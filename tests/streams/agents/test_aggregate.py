"""The aggregating agent over a real topic and table; no run ends here, so store and database are not needed."""

import pytest
from aiokafka import AIOKafkaConsumer

from core.settings import KeySettings, SupabaseSettings, WasabiSettings
from storage.connect import object_keys, open_rows, open_store
from streams.agents.aggregate import Aggregation
from streams.coordinator.finisher import Finisher
from streams.coordinator.found_runs import FoundRuns
from streams.coordinator.gpu_speed import GpuSpeed
from streams.coordinator.late_answers import LateAnswers
from streams.coordinator.lost_rows import LostRows
from streams.coordinator.progress import Progress
from streams.coordinator.run_table import Runs
from streams.kafka.connection import client_options
from streams.kafka.topic_admin import ensure_topics
from streams.policy.record_failures import FailurePolicy
from streams.policy.results import pack_span
from streams.processing.app import make_app
from streams.processing.failed_records import FailedRecords
from streams.processing.ordered_processor import OrderedProcessor
from streams.processing.producer import Producer
from streams.publisher import Publisher
from streams.runtime.circuit_breaker import CircuitBreaker
from streams.topics import COORDINATOR
from tests.streams.run_logs import RUN, done, joined, probabilities, started, taken
from tests.streams.waiting import until


class Aggregating:
    """The part of a coordinator that reads the results topic."""

    def __init__(self, kafka, topics, env) -> None:
        self.app = make_app(COORDINATOR, kafka, topics, partitions=4)
        store = open_store(WasabiSettings(_env_file=None, access_key="a", secret_key="b", bucket=env["WASABI_BUCKET"]))
        rows = open_rows(SupabaseSettings(_env_file=None, url=env["SUPABASE_URL"], service_role_key="c"))
        store_breaker = CircuitBreaker("store", store.probe)
        publisher = Publisher(topics, Producer(self.app))
        self.runs = Runs(self.app, topics)
        keys = object_keys(KeySettings(_env_file=None))
        late = LateAnswers(
            publisher,
            rows,
            store_breaker,
            FoundRuns(store, rows, store_breaker, store_breaker, 1.1),
            LostRows(store, keys, rows, store_breaker, store_breaker),
        )
        finisher = Finisher(self.app, self.runs, publisher, store, keys, rows, late, 4, store_breaker, store_breaker)
        aggregation = Aggregation(self.runs, finisher, Progress(rows, store_breaker, 5.0), publisher, GpuSpeed(100.0))
        self.processor = OrderedProcessor(
            self.app, topics.results, aggregation.handle, 64, FailedRecords(self.app, FailurePolicy(3, 20, 100), aggregation.give_up)
        )

        @self.app.agent(self.app.raw_topic(topics.results), name="aggregate")
        async def aggregate(stream) -> None:
            await self.processor.consume(stream)

    @property
    def done(self) -> list[int]:
        state = self.runs.get(str(RUN))
        return [] if state is None else state.done


@pytest.fixture
async def aggregating(kafka, topics, namespace, start):
    names = (topics.results, topics.runs_changelog, topics.dead_letter)
    await ensure_topics([spec for spec in topics.specs() if spec.name in names], kafka)
    own = Aggregating(kafka, topics, namespace.env)
    await start(own.app)
    return own


@pytest.fixture
def put(send, topics):
    async def send_record(value: bytes, partition: int | None = None) -> int:
        own = topics.results_partition(str(RUN))
        return await send(topics.results, value, partition=own if partition is None else partition, key=b"as sent")

    return send_record


async def dead_letters(kafka, topics, count: int) -> list:
    async with AIOKafkaConsumer(topics.dead_letter, **client_options(kafka), auto_offset_reset="earliest") as consumer:
        return [await anext(consumer) for _ in range(count)]


async def test_poison_becomes_dead_letters_and_its_neighbours_are_handled(aggregating, put, topics, kafka):
    """Undecodable records, impossible probabilities and records in a wrong partition become dead letters with bytes and reason."""
    wrong = 1 - topics.results_partition(str(RUN))
    short = done(0, values=probabilities(0, 1026)[:-1]).to_bytes()
    await put(started().to_bytes())
    await put(b"\xffno record")
    await put(short)
    await put(taken(0).to_bytes(), partition=wrong)
    await put(done(0, values=probabilities(0, 1026)).to_bytes())
    await until(lambda: aggregating.done == [0])
    letters = await dead_letters(kafka, topics, 3)
    assert {letter.value for letter in letters} == {b"\xffno record", short, taken(0).to_bytes()}
    for letter in letters:
        headers = dict(letter.headers)
        assert letter.key == b"as sent"
        assert headers["reason"] == b"poison"
        assert headers["origin"].startswith(topics.results.encode() + b"/")
    errors = b" ".join(dict(letter.headers)["error"] for letter in letters).decode()
    for part in ("Invalid JSON", "bytes of probabilities", f"is in partition {wrong}; expected partition {1 - wrong}"):
        assert part in errors


async def test_results_are_stored_once_and_late_results_dropped(aggregating, put, kafka, topics):
    """The first result of a span counts, a second one and one of an unknown run change nothing; all are acknowledged."""
    first, second = (done(0, values=probabilities(0, 1026, seed)) for seed in (1, 2))
    for record in (taken(0), started(), joined(1), taken(0), first, second):
        await put(record.to_bytes())
    last = await put(done(2, values=probabilities(2, 1026)).to_bytes())
    await until(lambda: aggregating.done == [0, 2] and aggregating.processor.in_flight == 0)
    assert last == 6
    assert aggregating.runs.get_span(str(RUN), 1, 0) == pack_span(first)
    state = aggregating.runs.get(str(RUN))
    assert [request.request_id.int for request in state.requests] == [1101, 1001]


async def test_a_counted_result_without_its_probabilities_is_stored_on_redelivery(aggregating, put, topics, monkeypatch):
    """If only the state reached the changelog before a kill, the redelivered record adds the probabilities.

    The finisher, which waits for them, is notified.
    """
    result = done(0, values=probabilities(0, 1026))
    await put(started().to_bytes())
    await put(result.to_bytes())
    await until(lambda: aggregating.done == [0])
    aggregating.runs._table.held.remove(topics.results_partition(str(RUN)), f"{RUN}/1/0".encode())
    assert not aggregating.runs.has_span(str(RUN), 1, 0)
    noticed = []
    monkeypatch.setattr(Finisher, "notice", lambda _, state: noticed.append(aggregating.runs.has_span(state.run_id, 1, 0)))
    await put(result.to_bytes())
    await until(lambda: aggregating.runs.has_span(str(RUN), 1, 0))
    assert aggregating.runs.get_span(str(RUN), 1, 0) == pack_span(result)
    assert aggregating.done == [0]
    assert noticed == [True]
