"""The live page as ``extents ui`` serves it, over an installation of the embedded stack without workers."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from playwright.sync_api import Page

from core.admission import Rejection
from core.runs import StoredRun
from core.settings import KafkaSettings, Settings, TopicSettings
from core.types import RejectionType
from devstack.stack import OwnedStack
from storage.connect import object_keys, open_replays, open_rows, open_store
from storage.run_db_reader import read_run_db
from streams.kafka.connection import client_options
from streams.kafka.topic_admin import ensure_topics
from streams.policy.dead_letters import dead_letter_of
from streams.received import ReceivedRecord
from streams.topics import Topics
from tests.pages.runs import run_bytes
from tests.patience import HANGS_AFTER
from tests.storage.admission_requests import WIDE, request
from tests.storage.finished_runs import finished_run
from tests.streams.run_logs import done, started, taken

VIEWER, OPERATOR = "a-viewers-token", "an-operators-token"
WAIT_MS = 30_000
PAIRS = 1_500


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    completed: UUID
    completed_video: UUID
    running: UUID
    rejected: UUID
    rejected_video: UUID
    dsn: str
    schema: str
    env: dict[str, str]

    def ask(self, query: str, *values: object) -> list[tuple]:
        """Rows of the database; ``{}`` stands for the beginning of a table's name."""
        with psycopg.connect(self.dsn, autocommit=True) as database:
            cursor = database.execute(query.format(f"{self.schema}.caption_frame_extents_inference_"), values)
            return cursor.fetchall() if cursor.description else []

    def actions(self, target: object) -> list[tuple]:
        """The entries of the audit table about something: role, name, action."""
        return self.ask("select role, name, action from {}page_actions where target = %s order by id", str(target))


@contextmanager
def serving(stack: OwnedStack, folder: Path) -> Iterator[Served]:
    """The page over an installation with a finished run, one in progress, a rejection, dead letters and replays; no worker runs."""
    name = uuid4().hex[:12]
    bucket = f"{stack.config.bucket}-{name}"
    stack.create_bucket(bucket)
    env = {**stack.env, "WASABI_BUCKET": bucket, "EXTENTS_TOPIC_PREFIX": f"test-{name}."}
    env |= {"EXTENTS_PAGE_VIEWER_TOKEN": VIEWER, "EXTENTS_PAGE_OPERATOR_TOKEN": OPERATOR}
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in env.items():
            patch.setenv(variable, value)
        with ThreadPoolExecutor(1) as thread:  # Playwright runs an event loop in this thread
            ids = thread.submit(lambda: asyncio.run(_fill(Settings()))).result()
    log = folder / "log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "cli", "ui", "--port", "0"]
        process = subprocess.Popen(command, env={**os.environ, **env}, stderr=output, stdout=output)
        try:
            url = _address(process, log)
            yield Served(url, *ids, stack.dsn, env["SUPABASE_SCHEMA"], env)
        finally:
            process.terminate()
            assert process.wait(30) in (0, 1, -15), log.read_text()


def _address(process: subprocess.Popen, log: Path) -> str:
    for _ in range(1200):
        lines = [line for line in log.read_text().splitlines() if line.startswith("live page: ")]
        if lines:
            return lines[0].partition(": ")[2].rstrip("/")
        assert process.poll() is None, log.read_text()
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(log.read_text())


async def _fill(settings: Settings) -> tuple[UUID, ...]:
    topics = Topics(TopicSettings())
    await ensure_topics(topics.specs(), KafkaSettings())
    finished, running = request(), request()
    refused = request(
        frame_count=300_000,
        rejection=Rejection(RejectionType.FRAME_COUNT_EXCEEDED, "300000 frames; at most 200000 are allowed (EXTENTS_MAX_FRAME_COUNT)"),
    )
    async with open_rows(settings.supabase) as rows, open_store(settings.wasabi) as store:
        answers = {each.request_id: await rows.admit(each, WIDE) for each in (finished, running, refused)}
        await rows.record_progress(running.run_id, 1, 300, datetime.now(UTC))
        data = run_bytes(PAIRS)
        now = datetime.now(UTC)
        run = finished_run(
            PAIRS,
            started_at=now,
            completed_at=now + timedelta(seconds=14),
            probabilities=read_run_db(data, "run").probabilities,
            run_id=finished.run_id,
            attempt=answers[finished.request_id].attempt,
            request_id=finished.request_id,
            tenant_id=finished.tenant_id,
            video_id=finished.video_id,
            cropped_frames_version=finished.cropped_frames_version,
            model_version=finished.model_version,
        )
        key = object_keys(settings.keys).run_db(run.tenant_id, run.video_id, run.cropped_frames_version, run.model_version, run.run_id)
        await store.put(key, data)
        await rows.complete_run(run, StoredRun(key, len(data), "0" * 64, run.attempt, False))
    await _fill_brokers(settings, topics, running.run_id)
    await _fill_replays(settings)
    return finished.run_id, finished.video_id, running.run_id, refused.request_id, refused.video_id


async def _fill_brokers(settings: Settings, topics: Topics, running: UUID) -> None:
    """Write the beginning of a run's log, and three dead letters."""
    log = [started(run_id=running), taken(0).model_copy(update={"run_id": running}), done(0, run_id=running)]
    async with AIOKafkaProducer(**client_options(settings.kafka), acks="all") as producer:
        for record in log:
            key, partition = str(running).encode(), topics.results_partition(str(running))
            await producer.send_and_wait(topics.results, record.to_bytes(), key=key, partition=partition)
        for number in range(3):
            record = ReceivedRecord(topics.encoded, 0, number, 0, b"key", b"letter %d" % number, {})
            letter = dead_letter_of(record, "undecodable", f"no JSON in letter {number}")
            await producer.send_and_wait(topics.dead_letter, letter.value, key=letter.key, headers=list(letter.headers.items()))


async def _fill_replays(settings: Settings) -> None:
    async with open_replays(settings.supabase) as replays:
        for name in ("nightly", "untouched"):
            await replays.create(
                {"replay_id": name, "state": "running", "source": {"items": 0}, "model_version": "m", "max_cost_usd": 5}, []
            )


async def values_of(served: Served, topic: str) -> list[bytes]:
    """Every value in a topic."""
    kafka = KafkaSettings(bootstrap_servers=served.env["KAFKA_BOOTSTRAP_SERVERS"])
    async with AIOKafkaConsumer(topic, **client_options(kafka), auto_offset_reset="earliest", enable_auto_commit=False) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        await consumer.seek_to_beginning()
        values = []
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            values += [record.value for records in (await consumer.getmany(timeout_ms=500)).values() for record in records]
        return values


def extents(served: Served, *arguments: str) -> str:
    """The output of a command."""
    command = [sys.executable, "-m", "cli", *arguments]
    return subprocess.run(command, env={**os.environ, **served.env}, check=True, capture_output=True, text=True, timeout=HANGS_AFTER).stdout


def log_in(page: Page, served: Served, token: str, name: str = "") -> Page:
    page.goto(f"{served.url}/login")
    page.get_by_label("Token").fill(token)
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("html[data-ready=true]", timeout=WAIT_MS)
    return page


def form_token(page: Page) -> str:
    return page.locator("input[name=form_token]").first.input_value()
