"""Deadlines of runs, with a real broker: the record in the log decides."""

import asyncio
from types import SimpleNamespace

import pytest

from core.types import Outcome
from streams.coordinator import deadlines as deadlines_module
from streams.coordinator.deadlines import Deadlines
from streams.coordinator.run_table import Runs
from streams.kafka.topic_admin import ensure_topics
from streams.policy import run_log
from streams.policy.run_log import UNTAKEN_SECONDS, Disposition, deadline_ms, fold
from streams.processing.app import make_app
from streams.processing.producer import Producer
from streams.publisher import Publisher
from streams.records import decode_log
from streams.topics import COORDINATOR
from tests.streams.run_logs import RUN, done, failed, joined, started, taken
from tests.streams.waiting import until

LOOK_SECONDS = 0.1


class Folding:
    """A coordinator that only folds the log and watches deadlines."""

    def __init__(self, kafka, topics) -> None:
        self.app = make_app(COORDINATOR, kafka, topics, partitions=4)
        self.runs = Runs(self.app, topics)
        self.kinds: list[str] = []
        self.handled = 1_000_000
        self.looked_at: list[int] = []
        self.store = SimpleNamespace(open_seconds=0.0)
        self.deadlines = Deadlines(self.app, self.runs, Publisher(topics, Producer(self.app)), self._handled_to, self.store)
        self.app.run_in_background(self.deadlines.run)

        @self.app.agent(self.app.raw_topic(topics.results), name="fold")
        async def follow(stream) -> None:
            async for event in stream.noack().events():
                record = decode_log(event.value)
                folded = fold(self.runs.get(str(RUN)), record, event.message.offset, int(1000 * event.message.timestamp))
                if folded.disposition is Disposition.COUNTED:
                    self.runs.put(folded.state)
                self.kinds.append(record.kind)
                await stream.ack(event)

    async def _handled_to(self, partition: int) -> int:
        self.looked_at.append(partition)
        return self.handled


@pytest.fixture
async def folding(kafka, topics, start, monkeypatch):
    monkeypatch.setattr(deadlines_module, "LOOK_EVERY_SECONDS", LOOK_SECONDS)
    await ensure_topics([spec for spec in topics.specs() if spec.name in (topics.results, topics.runs_changelog)], kafka)
    own = Folding(kafka, topics)
    await start(own.app)
    return own


@pytest.fixture
def put(send, topics):
    async def records(*log) -> None:
        for record in log:
            await send(topics.results, record.to_bytes(), partition=topics.results_partition(str(RUN)), key=str(RUN).encode())

    return records


async def test_a_run_past_its_deadline_fails_through_its_log(folding, put, topics):
    """One record is sent, and only after the log has been read up to the end that it had at the deadline."""
    folding.handled = -1
    await put(started(deadline_seconds=1), taken(0), done(1))
    partition = topics.results_partition(str(RUN))
    await until(lambda: folding.looked_at.count(partition) >= 2)
    assert "deadline_passed" not in folding.kinds
    folding.handled = 3
    await until(lambda: "deadline_passed" in folding.kinds)
    state = folding.runs.get(str(RUN))
    assert state.outcome is Outcome.FAILED
    assert state.reason == "deadline of 1 s passed with 1 of 3 spans done (EXTENTS_DEADLINE_HIGH_SECONDS)"
    await asyncio.sleep(5 * LOOK_SECONDS)
    assert folding.kinds.count("deadline_passed") == 1


async def test_nothing_is_kept_about_a_run_that_has_ended(folding, put):
    """The deadline is kept while a run waits for it, and nothing is kept after the run has failed."""
    await put(started(deadline_seconds=1), taken(0))
    await until(lambda: folding.deadlines._open_seconds_before)
    await until(lambda: "deadline_passed" in folding.kinds)

    def left() -> list[object]:
        about = folding.deadlines
        return [*about._open_seconds_before, *about._ends, *about._sent]

    await until(lambda: not left())


async def test_a_run_that_was_joined_and_never_started_is_cancelled(folding, put, monkeypatch):
    """A run whose start was lost, or whose marker was swept, does not stay active forever, and the waiting request is answered."""
    monkeypatch.setattr(run_log, "UNTAKEN_SECONDS", 1)
    await put(joined(1))
    await until(lambda: "run_cancelled" in folding.kinds)
    state = folding.runs.get(str(RUN))
    assert (state.outcome, state.reason) == (Outcome.CANCELLED, "its run_started record did not arrive within 1 s")
    assert [request.request_id.int for request in state.requests] == [1001]


async def test_store_outages_do_not_count(folding, put):
    """An outage of the store extends the deadline by its length."""
    folding.store.open_seconds = 500.0  # before the run
    await put(started(deadline_seconds=1), taken(0))
    await until(lambda: "span_taken" in folding.kinds)
    await asyncio.sleep(3 * LOOK_SECONDS)
    folding.store.open_seconds += 3.0
    await asyncio.sleep(1 + 5 * LOOK_SECONDS)
    assert folding.looked_at == []
    await until(lambda: "deadline_passed" in folding.kinds)


async def test_the_deadline_runs_only_between_the_first_take_and_the_outcome(folding, put):
    """A run that waits for a worker is not late, and neither is one that has ended: neither is checked."""
    await put(started(deadline_seconds=1))
    await until(lambda: len(folding.kinds) == 1)
    await asyncio.sleep(1 + 5 * LOOK_SECONDS)
    assert folding.looked_at == []
    await put(taken(0), failed(0, final=True))
    await until(lambda: len(folding.kinds) == 3)
    await asyncio.sleep(1 + 5 * LOOK_SECONDS)
    assert (folding.looked_at, folding.kinds) == ([], ["run_started", "span_taken", "span_failed"])


def test_the_deadline_starts_with_the_first_span_taken():
    """Kafka's timestamps count; a repeated take does not restart the deadline."""
    state = None
    for offset, (record, second) in enumerate([(started(), 0), (taken(0), 5), (taken(1), 9), (taken(0), 11)]):
        state = fold(state, record, offset, 1000 * second).state
    assert deadline_ms(state) == 1000 * (5 + 3600)
    assert deadline_ms(fold(None, started(), 0, 0).state) == 1000 * UNTAKEN_SECONDS
