"""What a worker needs before it takes work: brokers, topics, store, database and model. Each is checked until it has worked once.

Until then the worker must not report itself ready, or a rollout would replace workers that can work; nor may it join its group.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Self

from aiokafka.errors import KafkaError

from core.errors import ConfigurationError, ExtentsError, PermanentError, UnknownModelError
from core.logging import get_logger
from core.settings import AdmissionSettings, KafkaSettings
from storage.objects import ObjectStore
from streams.kafka.brokers import brokers
from streams.model_catalog import ModelCatalog
from streams.runtime.backoff import Backoff
from streams.topics import Topics

log = get_logger(__name__)

Prerequisite = Callable[[], Awaitable[None]]
"""Uses a dependency for real. Raises an error whose message says what is wrong."""

LIMIT_SECONDS: Final = 60.0
"""Limit for one check. A dependency that takes longer counts as missing."""

FIRST_PAUSE_SECONDS: Final = 0.5
MAX_PAUSE_SECONDS: Final = 10.0
"""The longest pause between two checks; short, because the person who repaired a fault is watching."""


class Prerequisites:
    """Entering it waits, without a limit, until each prerequisite has worked once. Stopping the process cancels the wait."""

    def __init__(self, needed: Mapping[str, Prerequisite]) -> None:
        self._missing: dict[str, tuple[Prerequisite, str]] = {name: (check, "not tried yet") for name, check in needed.items()}

    def wait_reason(self) -> str | None:
        """The reason to report in readiness; None once everything has worked."""
        return "; ".join(f"{name}: {fault}" for name, (_, fault) in self._missing.items()) or None

    async def __aenter__(self) -> Self:
        backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        while True:
            await asyncio.gather(*(self._check(name) for name in list(self._missing)))
            if not self._missing:
                log.info("prerequisites.met")
                return self
            await asyncio.sleep(backoff.next_pause())

    async def __aexit__(self, *exception: object) -> None:
        """Nothing is held."""

    async def _check(self, name: str) -> None:
        check, before = self._missing[name]
        try:
            await asyncio.wait_for(check(), LIMIT_SECONDS)
        except TimeoutError:  # an OSError too, so before those
            fault = f"no answer within {LIMIT_SECONDS:.0f} s"
        except (ExtentsError, KafkaError, OSError) as error:
            fault = str(error) or type(error).__name__
        else:
            del self._missing[name]
            return
        if fault != before:
            log.error("prerequisite.missing", name=name, fault=fault)
        self._missing[name] = (check, fault)


def topics_prerequisite(kafka: KafkaSettings, topics: Topics) -> Prerequisite:
    """Check that the brokers answer, and that every topic that workers need exists with the number of partitions in the settings."""

    async def check() -> None:
        expected = {spec.name: spec.partitions for spec in topics.specs() if spec.needed}
        async with brokers(kafka) as admin:
            present = sorted(expected.keys() & set(await admin.list_topics()))
            described = await admin.describe_topics(present) if present else []
        if missing := sorted(expected.keys() - set(present)):
            raise ConfigurationError(
                f"{len(missing)} of {len(expected)} topics are missing on {kafka.bootstrap_servers}, the first is {missing[0]}; "
                "check EXTENTS_TOPIC_PREFIX, or run: extents topics create"
            )
        actual = {topic["topic"]: len(topic["partitions"]) for topic in described}
        wrong = [f"{name} has {actual[name]} partitions, expected {count}" for name, count in expected.items() if actual[name] != count]
        if wrong:
            advice = "set EXTENTS_*_PARTITIONS to the values with which they were created, or choose another EXTENTS_TOPIC_PREFIX"
            raise ConfigurationError(f"{'; '.join(wrong)}; {advice}")

    return check


def readable_store_prerequisite(store: ObjectStore) -> Prerequisite:
    """Check that objects can be listed and read."""

    async def check() -> None:
        await store.check()
        await store.probe()

    return check


def writable_store_prerequisite(store: ObjectStore, folder: str) -> Prerequisite:
    """Check that objects can be listed, and written and read in ``folder``."""

    async def check() -> None:
        await store.check()
        key, data = f"{folder}{uuid.uuid4()}", b"written by a coordinator as it started; may be deleted"
        await store.put(key, data)
        read = await store.get(key, len(data))
        with suppress(PermanentError):  # the service itself never deletes, so it does not need the right to
            await store.delete(key)
        if read != data:
            raise ConfigurationError(f"s3://{store.bucket}/{key} reads back differently from what was written")

    return check


def model_prerequisite(catalog: ModelCatalog, admission: AdmissionSettings) -> Prerequisite:
    """Check that the default model of runs exists."""

    async def check() -> None:
        try:
            await catalog.resolve(admission.model_version or catalog.default_version)
        except UnknownModelError as error:
            raise ConfigurationError(f"EXTENTS_MODEL_VERSION: {error}") from error

    return check
