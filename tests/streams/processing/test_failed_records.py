"""Records whose handler fails unexpectedly, with a real broker, and worker processes that end or are killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient

from streams.kafka.connection import client_options
from streams.kafka.topic_admin import ensure_topics
from tests.streams.processing.failing_worker import POLICY, ROLE

LIMIT_SECONDS = 60


class FailingWorker:
    """A process, and what it has written to standard error so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.log = ""

    async def ended(self) -> int:
        """Its exit status, once it has ended by itself."""
        async with asyncio.timeout(LIMIT_SECONDS):
            await self._read_on(lambda: False)
            return await self._process.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            await self._read_on(condition)
        assert condition(), self.log

    async def stopped(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return await self.ended()

    @property
    def tries(self) -> int:
        return self.log.count("tried 0")

    async def _read_on(self, condition: Callable[[], bool]) -> None:
        assert self._process.stderr is not None
        while not condition() and (line := await self._process.stderr.readline()):
            self.log += line.decode()


@pytest.fixture
async def letters(topics, kafka):
    """Reads the dead letters so far."""
    await ensure_topics([spec for spec in topics.specs() if spec.name == topics.dead_letter], kafka)

    async def read(count: int) -> list[ConsumerRecord]:
        options = {**client_options(kafka), "auto_offset_reset": "earliest"}
        async with AIOKafkaConsumer(topics.dead_letter, **options) as consumer, asyncio.timeout(LIMIT_SECONDS):
            return [await consumer.getone() for _ in range(count)]

    return read


@pytest.fixture
async def committed(topics, kafka, source):
    """Reads the group's committed offset of partition 0 from the broker; 0 if there is none."""

    async def offset() -> int:
        admin = AIOKafkaAdminClient(**client_options(kafka))
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(topics.group(ROLE))
        finally:
            await admin.close()
        return max([0, *(about.offset for tp, about in offsets.items() if (tp.topic, tp.partition) == (source, 0))])

    return offset


@pytest.fixture
def worker(namespace, source):
    """Starts a worker whose handler fails in the given way."""

    @asynccontextmanager
    async def start(how: str) -> AsyncIterator[FailingWorker]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.streams.processing.failing_worker",
            source,
            how,
            env={**os.environ, **namespace.env},
            cwd=Path(__file__).parents[3],
            stderr=asyncio.subprocess.PIPE,
            limit=2**22,
        )
        try:
            yield FailingWorker(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    return start


async def test_a_record_that_fails_becomes_a_dead_letter_and_the_next_is_handled(worker, send, source, committed, letters):
    """A failing record is tried three times; its dead letter has its bytes, the error and its origin; the same process continues."""
    await send(source, b"bad", key=b"its key")
    await send(source, b"good")
    async with worker("raise") as process:
        await process.until(lambda: "record.given_up" in process.log)
        (letter,) = await letters(1)
        assert await process.stopped() == 0
    assert await committed() == 2
    headers = dict(letter.headers)
    assert (letter.key, letter.value, process.tries) == (b"its key", b"bad", POLICY.tries)
    assert (headers["reason"], headers["tries"]) == (b"unexpected", b"3")
    assert b"handler broke" in headers["error"]
    assert b"failing_worker.py" in headers["traceback"]


async def test_tries_are_counted_across_processes_that_are_killed(worker, send, source, letters):
    """Each process is killed during its second try; the count of the first tries is kept, and the record is given up."""
    await send(source, b"bad")
    tries = 0
    for _ in range(2):
        async with worker("kill") as process:
            assert await process.ended() == -signal.SIGKILL
            tries += process.tries
    async with worker("raise") as process:
        await process.until(lambda: "record.given_up" in process.log)
        tries += process.tries
    assert tries == 5  # two of them ended their process and were never counted
    assert len(await letters(1)) == 1


@pytest.mark.parametrize(("how", "message"), [("configuration", "WASABI_BUCKET is wrong"), ("disk", "No space left on device")])
async def test_errors_about_the_machine_or_the_settings_end_the_process(worker, send, source, committed, how, message):
    """Errors about the machine or the settings end the process at the first try and leave the offset where it is."""
    await send(source, b"bad")
    async with worker(how) as process:
        assert await process.ended() != 0
    assert message in process.log
    assert (process.tries, await committed()) == (1, 0)


async def test_a_record_that_exhausts_memory_is_tried_in_new_processes(worker, send, source, letters):
    """Every failure ends its process, which frees the memory, and the last one gives the record up."""
    await send(source, b"bad")
    await send(source, b"good")
    for _ in range(POLICY.tries - 1):
        async with worker("memory") as process:
            assert await process.ended() != 0
        assert process.tries == 1
    async with worker("memory") as process:
        await process.until(lambda: "record.given_up" in process.log)
        assert len(await letters(1)) == 1
        assert await process.stopped() == 0


async def test_a_bad_release_does_not_dead_letter_a_topic(worker, send, source, committed, letters):
    """Above the limit each process stops with a plain message and holds the offset; a fixed process continues."""
    for n in range(POLICY.in_a_row + 2):
        await send(source, b"bad %d" % n)
    for _ in range(2):
        async with worker("raise") as process:
            assert await process.ended() != 0
        assert f"{POLICY.in_a_row} records in a row of {source} failed unexpectedly" in process.log
        assert "EXTENTS_UNEXPECTED_IN_A_ROW" in process.log
        assert await committed() == POLICY.in_a_row
    assert len(await letters(POLICY.in_a_row)) == POLICY.in_a_row
