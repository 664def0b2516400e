"""Apache Kafka in KRaft mode: one node, or a cluster of three. Each node is broker and controller."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient

from devstack.config import StackConfig
from devstack.part import Part, run_once
from devstack.paths import java, kafka_classpath
from devstack.ports import HOST

# For short-lived servers under light load: the first-tier compiler and the serial collector start fastest and use the least memory.
_JAVA_OPTIONS: Final = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true"]
_LOG_OPTIONS: Final = [
    f"-Dorg.slf4j.simpleLogger.{name}" for name in ("showDateTime=true", "dateTimeFormat=HH:mm:ss.SSS", "showThreadName=false")
]
_HEAP: Final = {1: "-Xmx512m", 3: "-Xmx300m"}


def broker_part(config: StackConfig, folder: Path, node: int) -> Part:
    """Broker ``node``, counted from 1. Call ``prepare_broker`` first."""
    name = f"kafka-{node}"

    async def check() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=f"{HOST}:{config.ports[name]}", request_timeout_ms=60_000)  # Part limits a check
        await admin.start()
        try:
            cluster = await admin.describe_cluster()
        finally:
            await admin.close()
        if node not in {broker["node_id"] for broker in cluster["brokers"]}:
            raise RuntimeError(f"node {node} has not joined its cluster")

    # When all brokers stop together, each waits for a controller that is gone. Killing is safe: the log survives it.
    return Part(name, [*_java(_HEAP[config.brokers]), "kafka.Kafka", str(_properties_path(folder, name))], folder, check, stop_seconds=5.0)


async def prepare_broker(config: StackConfig, folder: Path, node: int) -> None:
    """Write the node's configuration, and format its storage the first time."""
    name = f"kafka-{node}"
    properties = _properties_path(folder, name)
    properties.parent.mkdir(parents=True, exist_ok=True)
    properties.write_text(_properties(config, folder, node))
    if not (folder / name / "meta.properties").exists():
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={config.cluster_id}", "--config", str(properties)]
        await run_once(name, [*_java("-Xmx128m"), *tool], folder)


def _java(heap: str) -> list[str]:
    return [str(java()), heap, *_JAVA_OPTIONS, *_LOG_OPTIONS, "-cp", kafka_classpath()]


def _properties(config: StackConfig, folder: Path, node: int) -> str:
    """``server.properties``.

    The quorum's voters are in this file, not in the metadata log as in newer clusters, so that a stack can change its
    ports if others have taken them since its last start.
    """
    ports, name = config.ports, f"kafka-{node}"
    listeners = {"BROKER": ports[name], "CONTROLLER": ports[f"controller-{node}"]}
    advertised = {"BROKER": ports[name]}
    if config.proxies:
        listeners["PROXIED"], advertised["PROXIED"] = ports[f"behind-{node}"], ports[f"proxy-{node}"]
    voters = ",".join(f"{n}@{HOST}:{ports[f'controller-{n}']}" for n in range(1, config.brokers + 1))
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "listeners": _addresses(listeners),
        "advertised.listeners": _addresses(advertised),
        "inter.broker.listener.name": "BROKER",
        "listener.security.protocol.map": ",".join(f"{listener}:PLAINTEXT" for listener in listeners),
        "log.dirs": folder / name,
        "auto.create.topics.enable": "false",
        "default.replication.factor": config.brokers,
        "min.insync.replicas": min(config.brokers, 2),
        "offsets.topic.replication.factor": config.brokers,
        "offsets.topic.num.partitions": 4,
        "offsets.retention.minutes": 30 * 24 * 60,  # longer than the retention of the work topics
        "transaction.state.log.replication.factor": config.brokers,
        "transaction.state.log.min.isr": min(config.brokers, 2),
        "transaction.state.log.num.partitions": 2,
        "share.coordinator.state.topic.replication.factor": config.brokers,
        "share.coordinator.state.topic.min.isr": min(config.brokers, 2),
        "group.initial.rebalance.delay.ms": 0,  # the first member need not wait for others
        "group.min.session.timeout.ms": 1_000,  # tests that kill workers use short sessions
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,  # the default of 128 MiB is far more than these topics need
        "num.network.threads": 2,
        "num.io.threads": 4,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _addresses(ports: Mapping[str, int]) -> str:
    return ",".join(f"{listener}://{HOST}:{port}" for listener, port in ports.items())


def _properties_path(folder: Path, name: str) -> Path:
    return folder / "etc" / f"{name}.properties"
