"""A broker that only accepts encrypted connections with a login, as in production."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from faust.types import EventT
from pydantic import SecretStr

from core.settings import KafkaSettings, TopicSettings
from devstack.kafka import broker_part, prepare_broker
from devstack.part import run_once
from devstack.paths import java, kafka_classpath
from devstack.ports import HOST, choose_ports
from streams.kafka.connection import client_options
from streams.kafka.topic_admin import ensure_topics
from streams.policy.record_failures import FailurePolicy
from streams.processing.app import make_app
from streams.processing.failed_records import FailedRecords
from streams.processing.ordered_processor import OrderedProcessor
from streams.received import ReceivedRecord
from streams.runtime.assignment import Assignment
from streams.topics import Topics, TopicSpec
from tests.streams.conftest import running
from tests.streams.waiting import until

USER, PASSWORD = "extents", "a secret"
STORE_PASSWORD = "changeit"
MODULES = {"plain": f'plain.PlainLoginModule required user_{USER}="{PASSWORD}";', "scram-sha-512": "scram.ScramLoginModule required;"}


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[KafkaSettings]:
    """A broker for this test that knows one user by both mechanisms; the settings lack the mechanism."""
    ports = choose_ports(["kafka-1", "controller-1", "secured"], {})
    config = SimpleNamespace(ports=ports, brokers=1, proxies={}, cluster_id="c2VjdXJlZC1icm9rZXItMQ")
    await prepare_broker(config, tmp_path, 1)
    store, certificate = tmp_path / "broker.p12", tmp_path / "ca.pem"
    keytool = [str(java().with_name("keytool")), "-keystore", str(store), "-storepass", STORE_PASSWORD, "-alias", "broker"]
    named = ["-dname", "CN=broker", "-ext", f"san=ip:{HOST}"]
    await run_once("key", [*keytool, "-genkeypair", "-keyalg", "EC", "-storetype", "PKCS12", *named], tmp_path)
    await run_once("certificate", [*keytool, "-exportcert", "-rfc", "-file", str(certificate)], tmp_path)
    _add_listener(tmp_path / "etc" / "kafka-1.properties", ports["secured"], store)
    broker = broker_part(config, tmp_path, 1)
    await broker.start()
    try:
        users = ["--entity-type", "users", "--entity-name", USER, "--alter", "--add-config", f"SCRAM-SHA-512=[password={PASSWORD}]"]
        tool = [str(java()), "-Xmx64m", "-cp", kafka_classpath(), "kafka.admin.ConfigCommand"]
        await run_once("user", [*tool, "--bootstrap-server", f"{HOST}:{ports['kafka-1']}", *users], tmp_path)
        yield KafkaSettings(
            _env_file=None,
            bootstrap_servers=f"{HOST}:{ports['secured']}",
            security_protocol="SASL_SSL",
            sasl_username=USER,
            sasl_password=PASSWORD,
            ssl_cafile=certificate,
            replication_factor=1,
            min_insync_replicas=1,
        )
    finally:
        await broker.kill()


def _add_listener(properties: Path, port: int, store: Path) -> None:
    lines = []
    for line in properties.read_text().splitlines():
        name = line.partition("=")[0]
        if name in ("listeners", "advertised.listeners"):
            line += f",SECURED://{HOST}:{port}"
        elif name == "listener.security.protocol.map":
            line += ",SECURED:SASL_SSL"
        lines.append(line)
    ours = {
        "sasl.enabled.mechanisms": ",".join(MODULES).upper(),
        "ssl.keystore.location": store,
        "ssl.keystore.password": STORE_PASSWORD,
        **{f"{mechanism}.sasl.jaas.config": f"org.apache.kafka.common.security.{module}" for mechanism, module in MODULES.items()},
    }
    lines += [f"listener.name.secured.{name}={value}" for name, value in ours.items()]
    properties.write_text("\n".join(lines) + "\n")


async def test_topics_clients_and_workers_log_in(secured: KafkaSettings) -> None:
    """Topics are created, and a worker handles and commits a record, with both mechanisms; nobody gets in without a login."""
    topics = Topics(TopicSettings(_env_file=None, topic_prefix="secured."))
    for mechanism in (name.upper() for name in MODULES):
        kafka = secured.model_copy(update={"sasl_mechanism": mechanism})
        source = topics.name(mechanism)
        await ensure_topics([TopicSpec(source, 1)], kafka)
        handled = []

        async def handle(event: EventT[bytes], assignment: Assignment, handled: list[bytes] = handled) -> None:
            handled.append(event.value)

        async def given_up(record: ReceivedRecord, assignment: Assignment, error: Exception, tries: int) -> None:
            raise error

        app = make_app(f"test-{mechanism}", kafka, topics, partitions=1)
        app.conf.broker_commit_interval = 0.2
        processor = OrderedProcessor(app, source, handle, 10, FailedRecords(app, FailurePolicy(3, 20, 100), given_up))
        app.agent(app.raw_topic(source), name="follow")(processor.consume)
        async with running(app), AIOKafkaProducer(**client_options(kafka)) as producer:
            await producer.send_and_wait(source, b"a record", partition=0)
            await until(lambda handled=handled: handled == [b"a record"])
        assert (await _committed(kafka, topics.group(f"test-{mechanism}"))) == [1]
    for changes in ({"sasl_password": SecretStr("another")}, {"security_protocol": "PLAINTEXT"}, {"ssl_cafile": None}):
        with pytest.raises(KafkaError):
            await _committed(secured.model_copy(update=changes), "any")


async def _committed(kafka: KafkaSettings, group: str) -> list[int]:
    admin = AIOKafkaAdminClient(**client_options(kafka), request_timeout_ms=3_000)
    try:
        await admin.start()
        return [position.offset for position in (await admin.list_consumer_group_offsets(group)).values()]
    finally:
        await admin.close()
