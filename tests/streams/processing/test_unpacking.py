"""Records as other clients really write them: every codec, header names of any bytes, aborted transactions."""

import confluent_kafka
import pytest

from streams.policy.dead_letters import dead_letter_of
from streams.policy.record_failures import FailurePolicy
from streams.processing.app import make_app
from streams.processing.failed_records import FailedRecords
from streams.processing.ordered_processor import OrderedProcessor
from streams.processing.producer import Producer
from streams.received import ReceivedRecord
from streams.runtime.assignment import Assignment
from tests.streams.kafka.hostile_producer import send_with_header_names
from tests.streams.waiting import until


@pytest.fixture
async def received(kafka, topics, source, start) -> list[ReceivedRecord]:
    """What a worker was given from the source topic; each record is also sent to its second partition, as dead letters are.

    The records' sends run at the same time, so that their order in the second partition is not that of the first.
    """
    records: list[ReceivedRecord] = []
    app = make_app("unpacking", kafka, topics, partitions=2)
    producer = Producer(app)

    async def handle(record: ReceivedRecord, assignment: Assignment) -> None:
        records.append(record)
        if record.partition == 0:
            letter = dead_letter_of(record, "poison", "for the test")
            await producer.send(assignment, source, letter.key, letter.value, partition=1, headers=letter.headers)

    async def never(record: ReceivedRecord, assignment: Assignment, error: Exception, tries: int) -> None:
        raise error

    processor = OrderedProcessor(app, source, handle, 10, FailedRecords(app, FailurePolicy(1, 1, 1000), never))

    @app.agent(app.raw_topic(source), name="follow")
    async def follow(stream) -> None:
        await processor.consume(stream)

    await start(app)
    return records


def values(records: list[ReceivedRecord], partition: int = 0) -> list[bytes | None]:
    return [record.value for record in records if record.partition == partition]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_every_codec_of_other_clients_is_read(received, namespace, source, codec):
    """A batch that librdkafka compressed is read record by record."""
    settings = {"bootstrap.servers": namespace.env["KAFKA_BOOTSTRAP_SERVERS"], "compression.type": codec, "linger.ms": 200}
    producer = confluent_kafka.Producer(settings)
    sent = [b"%d" % n * 1000 for n in range(20)]
    for value in sent:
        producer.produce(source, value, partition=0)
    producer.flush(30)
    await until(lambda: values(received) == sent)


async def test_a_header_name_of_any_bytes_stops_nothing(received, namespace, send, source):
    """A record with any header name is handled and can be resent with the bytes of the name shown, like its neighbours in the batch."""
    servers = namespace.env["KAFKA_BOOTSTRAP_SERVERS"]
    await send(source, b"before")
    send_with_header_names(servers, source, [b"first", b"hostile", b"last"], b"\xff\xfeid", key=b"key")
    await send(source, b"behind")
    expected = [b"before", b"first", b"hostile", b"last", b"behind"]
    await until(lambda: values(received) == expected and sorted(values(received, 1)) == sorted(expected))
    hostile = [record for record in received if record.value == b"hostile"]
    assert [record.partition for record in hostile] == [0, 1]
    for record in hostile:
        assert record.headers["\\xff\\xfeid"] == b"of any kind"
        assert record.key == b"key"


async def test_what_a_transaction_aborted_is_not_handled(received, namespace, send, source):
    """Records of an aborted transaction are skipped, and those of a committed one handled."""
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": namespace.env["KAFKA_BOOTSTRAP_SERVERS"], "transactional.id": f"{source}-transactions"}
    )
    producer.init_transactions(30)
    for value, end in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(source, value, partition=0)
        producer.flush(30)
        end(30)
    await send(source, b"behind")
    await until(lambda: values(received) == [b"committed", b"behind"])
