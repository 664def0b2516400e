"""``extents topics`` against a real broker."""

import asyncio
import json
import os
import subprocess
import sys

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from core.settings import TopicSettings
from streams.topics import Topics
from tests.patience import HANGS_AFTER


@pytest.fixture
def topics(namespace, monkeypatch):
    """Run the command as a process with topics that belong to this test only."""
    environment = {**os.environ, **namespace.env, "EXTENTS_REQUEST_PARTITIONS": "2", "EXTENTS_WORK_PARTITIONS": "3"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli", "topics", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANGS_AFTER,
        )

    return run


async def change(servers: str, alter) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await alter(admin)
    finally:
        await admin.close()


def test_create_makes_what_is_missing_and_then_nothing(topics, namespace):
    """The first call creates every topic, the second none, and the check accepts them."""
    names = {spec.name for spec in Topics(TopicSettings(topic_prefix=namespace.topic_prefix)).specs()}
    first, second = topics("create", "--json"), topics("create", "--json")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert set(json.loads(first.stdout)["created"]) == names
    assert json.loads(second.stdout)["created"] == []
    checked = topics("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    lines = checked.stdout.splitlines()
    assert len(lines) == 1 + len(names)
    assert all(line.rstrip().endswith("ok") for line in lines[1:])


def test_check_names_what_is_missing(topics, namespace):
    """Without topics the check fails and names each missing one."""
    checked = topics("check", "--json")
    assert checked.returncode == 1
    listed = json.loads(checked.stdout)
    assert all("extents topics create" in topic["faults"][0] for topic in listed)
    assert all(topic["topic"].startswith(namespace.topic_prefix) for topic in listed)
    assert topics("check").returncode == 1


def test_check_tells_partitions_and_retention_that_differ(topics, namespace):
    """The check reports a changed topic with the value found and the value expected; create rejects a wrong number of partitions."""
    assert topics("create").returncode == 0
    encoded, work = f"{namespace.topic_prefix}video.encoded", f"{namespace.topic_prefix}inference.work.high"

    async def alter(admin: AIOKafkaAdminClient) -> None:
        await admin.create_partitions({work: NewPartitions(5)})
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, encoded, {"retention.ms": "1000"})])

    asyncio.run(change(namespace.env["KAFKA_BOOTSTRAP_SERVERS"], alter))
    checked = topics("check", "--json")
    assert checked.returncode == 1
    faults = {topic["topic"]: topic["faults"] for topic in json.loads(checked.stdout) if topic["faults"]}
    assert faults[work] == ["has 5 partitions, expected 3"]
    assert "has retention.ms=1000, expected 34560000000" in faults[encoded]
    refused = topics("create")
    assert refused.returncode == 1
    assert f"topic {work} has 5 partitions, expected 3" in refused.stderr


def test_a_missing_setting_is_named(tmp_path):
    """Without a broker's address the command fails with the variable's name, not with a traceback."""
    command = [sys.executable, "-m", "cli", "topics", "check"]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=HANGS_AFTER, cwd=tmp_path)
    assert done.returncode == 1
    assert "KAFKA_BOOTSTRAP_SERVERS is not set" in done.stderr
    assert "Traceback" not in done.stderr
