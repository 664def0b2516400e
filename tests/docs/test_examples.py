"""The examples run unchanged against real servers."""

import asyncio
import subprocess
import sys
import uuid
from pathlib import Path

import orjson
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from psycopg import sql

from core.captions import find_captions
from core.settings import KafkaSettings
from devstack.paths import DIST
from storage.run_db import build_run_db
from streams.kafka.connection import client_options
from streams.kafka.topic_admin import ensure_topics
from streams.records import InferenceCompleted, InferenceFailed, VideoEncoded, decode
from streams.topics import TopicSpec
from tests.storage.finished_runs import finished_run
from tools.contracts.examples import EXAMPLES

FOLDER = Path(__file__).parents[2] / "examples"
SECONDS = 60.0


@pytest.fixture
def kafka(namespace) -> KafkaSettings:
    brokers = namespace.env["KAFKA_BOOTSTRAP_SERVERS"]
    return KafkaSettings(_env_file=None, bootstrap_servers=brokers, replication_factor=1, min_insync_replicas=1)


def test_a_run_database_is_read_with_pandas(tmp_path: Path) -> None:
    """Captions and unsure labels are printed from a run database that the service's own code wrote."""
    run = finished_run(pairs=40)
    track = find_captions(run.probabilities)
    (tmp_path / "run.db").write_bytes(build_run_db(run, track))
    done = subprocess.run([sys.executable, FOLDER / "read_run.py", tmp_path / "run.db"], capture_output=True, text=True, check=True)
    captions = done.stdout.split("\n\n")[0].splitlines()
    assert len(captions) == 1 + len(track.captions)
    assert "of 40 pairs below a confidence of 0.6" in done.stdout


async def test_a_run_is_requested_in_javascript(namespace, kafka: KafkaSettings, tmp_path: Path) -> None:
    """The record that the example publishes is a valid request, keyed by its video."""
    topic = f"{namespace.topic_prefix}video.encoded"
    await ensure_topics([TopicSpec(topic, 2)], kafka)
    (tmp_path / "request_run.mjs").write_bytes((FOLDER / "request_run.mjs").read_bytes())
    (tmp_path / "node_modules").symlink_to(DIST / "examples" / "node_modules")
    node = Path(sys.executable).parent / "node"
    video = str(uuid.uuid4())
    command = [node, "request_run.mjs", kafka.bootstrap_servers, namespace.tenant_id, video, "3", "600", namespace.topic_prefix]
    done = await asyncio.to_thread(subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    async with AIOKafkaConsumer(topic, **client_options(kafka), auto_offset_reset="earliest") as consumer:
        record = await asyncio.wait_for(consumer.getone(), SECONDS)
    request = decode(VideoEncoded, record.value)
    assert (record.key, str(request.video_id), request.cropped_frames_version, request.frame_count) == (video.encode(), video, 3, 600)
    assert request.event_id == orjson.loads(done.stdout)["event_id"]


async def test_outcomes_set_the_state_of_videos(namespace, kafka: KafkaSettings, stack) -> None:
    """A completed run makes its video ready for annotation, a failed one stores the reason, and a repeated event changes nothing."""
    schema = f"app_{uuid.uuid4().hex[:8]}"
    completed, failed = (orjson.loads(EXAMPLES[kind].to_bytes()) for kind in (InferenceCompleted, InferenceFailed))
    completed["video_id"], failed["video_id"] = str(uuid.uuid4()), str(uuid.uuid4())
    columns = "id uuid primary key, boundaries_status text, boundaries_error text, current_cropped_frames_version int"
    async with await psycopg.AsyncConnection.connect(stack.dsn, autocommit=True) as connection:
        await connection.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        table = sql.Identifier(schema, "videos")
        await connection.execute(sql.SQL("create table {} ({})").format(table, sql.SQL(columns)))
        for event in (completed, failed):
            await connection.execute(sql.SQL("insert into {} (id) values (%s)").format(table), (event["video_id"],))
        names = [f"{namespace.topic_prefix}inference.{end}" for end in ("completed", "failed")]
        await ensure_topics([TopicSpec(name, 1) for name in names], kafka)
        command = [sys.executable, FOLDER / "update_videos.py", kafka.bootstrap_servers, stack.dsn, schema, namespace.topic_prefix]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            async with AIOKafkaProducer(**client_options(kafka)) as producer:
                for name, event in ((names[0], completed), (names[0], completed), (names[1], failed)):
                    await producer.send_and_wait(name, orjson.dumps(event))
            assert process.stdout is not None
            for _ in range(3):
                assert await asyncio.wait_for(process.stdout.readline(), SECONDS)
        finally:
            process.kill()
            await process.wait()
        query = sql.SQL("select id::text, boundaries_status, boundaries_error from {}").format(table)
        rows = await (await connection.execute(query)).fetchall()
    assert {row[0]: row[1:] for row in rows} == {
        completed["video_id"]: ("annotate", None),
        failed["video_id"]: ("error", failed["reason"]),
    }
