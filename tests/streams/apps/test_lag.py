"""The consumer lag that Prometheus scrapes, with a real broker."""

import asyncio

import confluent_kafka

from core.metrics import CONSUMER_LAG
from streams.apps.observability import _measure_lag
from streams.processing.app import make_app
from streams.topics import COORDINATOR
from tests.patience import Deadline


async def test_the_end_of_a_transaction_is_no_lag(kafka, topics, source, start, send):
    """A topic that ends with a transaction marker is read to its end, unless there is a record behind the marker."""
    app = make_app(COORDINATOR, kafka, topics, partitions=4)
    handled: list[bytes] = []
    may_handle = asyncio.Event()
    may_handle.set()

    @app.agent(app.raw_topic(source), name="read")
    async def read(stream) -> None:
        async for event in stream.noack().events():
            await may_handle.wait()
            handled.append(event.value)
            await stream.ack(event)

    async def until_lag(expected: set[float]) -> None:
        deadline, lag = Deadline(30), None
        while lag not in expected:
            assert not deadline.passed, f"the lag is {lag}"
            await asyncio.sleep(0.1)
            await _measure_lag(app)
            lag = CONSUMER_LAG.labels(source)._value.get()

    await start(app)
    producer = confluent_kafka.Producer({"bootstrap.servers": ",".join(kafka.servers), "transactional.id": source})
    await asyncio.to_thread(producer.init_transactions, 60)
    for value, end in ((b"committed", producer.commit_transaction), (b"aborted", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(source, value, partition=0)
        await asyncio.to_thread(producer.flush, 60)
        await asyncio.to_thread(end, 60)
        await until_lag({0})
        assert handled == [b"committed"]
    may_handle.clear()
    await send(source, b"waits")
    await until_lag({1, 2, 3, 4})  # the offsets of markers count while a record waits behind them
    may_handle.set()
    await until_lag({0})
    assert handled == [b"committed", b"waits"]
