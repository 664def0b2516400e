"""What a worker needs before it takes work: brokers, topics, store, database and model, each tried until it has worked once.

A worker that cannot do its work must neither look ready, so that a rollout replaces those that can, nor join its group.
"""

import asyncio
import random
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
from streams.topics import Topics

log = get_logger(__name__)

Prerequisite = Callable[[], Awaitable[None]]
"""Tries something for real; raises what is wrong, in words."""

LIMIT_SECONDS: Final = 60.0
"""For one try; a dependency that takes longer is away for whoever waits."""

FIRST_PAUSE_SECONDS: Final = 0.5
MAX_PAUSE_SECONDS: Final = 10.0
"""So soon is a fault noticed to be gone: whoever repaired it is watching."""


class Prerequisites:
    """Entering it ends when each prerequisite has worked once, however long that takes. Whoever stops the process cancels it."""

    def __init__(self, needed: Mapping[str, Prerequisite]) -> None:
        self._missing: dict[str, tuple[Prerequisite, str]] = {name: (tries, "not tried yet") for name, tries in needed.items()}

    def wait_reason(self) -> str | None:
        """What to say of it in readiness."""
        return "; ".join(f"{name}: {fault}" for name, (_, fault) in self._missing.items()) or None

    async def __aenter__(self) -> Self:
        pause = FIRST_PAUSE_SECONDS
        while True:
            await asyncio.gather(*(self._try(name) for name in list(self._missing)))
            if not self._missing:
                log.info("prerequisites.met")
                return self
            await asyncio.sleep(pause * random.uniform(1.0, 1.3))  # noqa: S311 - jitter
            pause = min(2 * pause, MAX_PAUSE_SECONDS)

    async def __aexit__(self, *exception: object) -> None:
        """Nothing is held."""

    async def _try(self, name: str) -> None:
        tries, before = self._missing[name]
        try:
            await asyncio.wait_for(tries(), LIMIT_SECONDS)
        except TimeoutError:  # an OSError too, so before those
            fault = f"no answer within {LIMIT_SECONDS:.0f} s"
        except (ExtentsError, KafkaError, OSError) as error:
            fault = str(error) or type(error).__name__
        else:
            del self._missing[name]
            return
        if fault != before:
            log.error("prerequisite.missing", name=name, fault=fault)
        self._missing[name] = (tries, fault)


def topics_prerequisite(kafka: KafkaSettings, topics: Topics) -> Prerequisite:
    """The brokers answer, and all topics are there with as many partitions as the settings say."""

    async def tries() -> None:
        expected = {spec.name: spec.partitions for spec in topics.specs()}
        async with brokers(kafka) as admin:
            present = sorted(expected.keys() & set(await admin.list_topics()))
            described = await admin.describe_topics(present) if present else []
        if missing := sorted(expected.keys() - set(present)):
            raise ConfigurationError(
                f"{len(missing)} of {len(expected)} topics are missing on {kafka.bootstrap_servers}, the first is {missing[0]}; "
                "check EXTENTS_TOPIC_PREFIX, or run: extents topics create"
            )
        found = {topic["topic"]: len(topic["partitions"]) for topic in described}
        if wrong := [f"{name} has {found[name]} partitions, expected {count}" for name, count in expected.items() if found[name] != count]:
            advice = "set the EXTENTS_*_PARTITIONS that they were made with, or choose another EXTENTS_TOPIC_PREFIX"
            raise ConfigurationError(f"{'; '.join(wrong)}; {advice}")

    return tries


def readable_store_prerequisite(store: ObjectStore) -> Prerequisite:
    """Objects can be listed and read."""

    async def tries() -> None:
        await store.check()
        await store.probe()

    return tries


def writable_store_prerequisite(store: ObjectStore, folder: str) -> Prerequisite:
    """Objects can be listed, read and written, where those of videos are."""

    async def tries() -> None:
        await store.check()
        key, data = f"{folder}extents-check/{uuid.uuid4()}", b"written by a coordinator as it started; may be deleted"
        await store.put(key, data)
        read = await store.get(key, len(data))
        with suppress(PermanentError):  # the service itself never deletes, and needs no right to
            await store.delete(key)
        if read != data:
            raise ConfigurationError(f"s3://{store.bucket}/{key} reads back as other bytes than were written")

    return tries


def model_prerequisite(catalog: ModelCatalog, admission: AdmissionSettings) -> Prerequisite:
    """The model that runs get by default is there."""

    async def tries() -> None:
        try:
            await catalog.resolve(admission.model_version or catalog.default_version)
        except UnknownModelError as error:
            raise ConfigurationError(f"EXTENTS_MODEL_VERSION: {error}") from error

    return tries
