"""An installation of the service for each module of tests, which share one event loop."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from core.settings import KafkaSettings, KeySettings
from storage.keys import Keys
from storage.objects import ObjectStore, ObjectStoreConfig
from streams.topics import Topics, ensure_topics
from tests.service.installation import SETTINGS, Installation, topic_settings
from tests.service.ledger import Ledger
from tests.service.processes import Processes
from tests.service.verifier import Verifier


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Settings of a module's installation, beside those that all have."""
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(stack, settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """Topics and bucket of a module's own; no process is running yet."""
    name = uuid.uuid4().hex[:12]
    bucket = f"{stack.config.bucket}-{name}"
    stack.create_bucket(bucket)
    environment = {**stack.env, **SETTINGS, **settings, "WASABI_BUCKET": bucket, "EXTENTS_TOPIC_PREFIX": f"test-{name}."}
    kafka = KafkaSettings(bootstrap_servers=environment["KAFKA_BOOTSTRAP_SERVERS"], replication_factor=1, min_insync_replicas=1)
    topics = Topics(topic_settings(environment))
    await ensure_topics(topics.specs(), kafka)
    keys = Keys(**{f"{kind}_template": KeySettings.model_fields[kind].default for kind in ("chunk", "layout", "run_db", "model")})
    folder: Path = tmp_path_factory.mktemp("workers")
    processes = Processes(environment, folder)
    try:
        async with ObjectStore(_store_config(environment)) as store, Ledger(kafka, topics) as ledger:
            verifier = Verifier(ledger, store, keys, stack.dsn, environment["SUPABASE_SCHEMA"])
            yield Installation(kafka, topics, store, keys, ledger, verifier, processes)
    finally:
        processes.close()


def _store_config(environment: dict[str, str]) -> ObjectStoreConfig:
    return ObjectStoreConfig(
        bucket=environment["WASABI_BUCKET"],
        access_key=environment["WASABI_ACCESS_KEY"],
        secret_key=environment["WASABI_SECRET_KEY"],
        region=environment["WASABI_REGION"],
        endpoint_url=environment["WASABI_ENDPOINT"],
        pool_size=16,
        timeout_seconds=20,
    )
