"""What ``extents doctor`` checks. A check returns what it found, or raises what is wrong; ``run_check`` turns both into a row."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from core.errors import ConfigurationError, ExtentsError, MissingObjectError
from core.settings import Settings
from core.types import Anchor, Layout
from inference.builtin import builtin_checkpoint_path, builtin_model_version
from inference.device import describe_device, pick_device
from inference.loading import load_predictor
from inference.predictor import EngineOptions
from storage.connect import object_keys, open_rows, open_store
from streams.connection import client_options
from streams.topics import Topics, topic_faults

LIMIT_SECONDS: Final = 60.0
"""Of one check; a dependency that does not answer by then is down for whoever waits."""


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


class Warned(Exception):
    """Something that works, but not as it should."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at; ``advice`` is what to do when it fails and the error itself does not say."""

    name: str
    run: Callable[[], Awaitable[str]]
    advice: str


@dataclass(frozen=True, slots=True)
class Found:
    name: str
    state: State
    found: str
    mend: str | None = None


def all_checks(settings: Settings) -> list[Check]:
    """In the order in which they make sense: what comes later mostly fails when what comes before does."""
    return [
        Check("settings", lambda: _settings(settings), "set the variables named; docs/configuration.md lists them all"),
        Check("brokers", lambda: _brokers(settings), "check KAFKA_BOOTSTRAP_SERVERS and the KAFKA_SECURITY_PROTOCOL settings"),
        Check("topics", lambda: _topics(settings), "extents topics create"),
        Check(
            "object store",
            lambda: _store(settings),
            "check the WASABI_* settings, and that the key may read, write and delete in the bucket",
        ),
        Check("database", lambda: _database(settings), "check the SUPABASE_* settings, and apply deploy/supabase/migrations"),
        Check("model", lambda: _model(settings), "install the package with its weights, or set EXTENTS_MODEL_VERSION"),
        Check("device", lambda: _device(settings), "install the driver and a CUDA build of torch, or set EXTENTS_DEVICE=cpu"),
    ]


async def run_check(check: Check) -> Found:
    try:
        return Found(check.name, State.OK, await asyncio.wait_for(check.run(), LIMIT_SECONDS))
    except Warned as warning:
        return Found(check.name, State.WARNING, str(warning), check.advice)
    except (ExtentsError, KafkaError, RuntimeError, OSError) as error:
        return Found(check.name, State.FAULT, str(error) or type(error).__name__, check.advice)
    except TimeoutError:
        return Found(check.name, State.FAULT, f"no answer within {LIMIT_SECONDS:.0f} s", check.advice)


async def _settings(settings: Settings) -> str:
    settings.check()
    object_keys(settings.keys)
    return "complete"


async def _brokers(settings: Settings) -> str:
    admin = AIOKafkaAdminClient(**client_options(settings.kafka))
    await admin.start()
    try:
        cluster = await admin.describe_cluster()
    finally:
        await admin.close()
    count = len(cluster["brokers"])
    if count < settings.kafka.replication_factor:
        raise ConfigurationError(f"{count} brokers, KAFKA_REPLICATION_FACTOR is {settings.kafka.replication_factor}")
    return f"{count} at {settings.kafka.bootstrap_servers}, {settings.kafka.security_protocol}"


async def _topics(settings: Settings) -> str:
    specs = Topics(settings.topics).specs()
    faults = await topic_faults(specs, settings.kafka)
    if faults:
        raise ConfigurationError("; ".join(faults))
    return f"{len(specs)}, {sum(spec.partitions for spec in specs)} partitions"


async def _store(settings: Settings) -> str:
    """Log in, write, read back, list and delete."""
    async with open_store(settings.wasabi) as store:
        await store.check()
        key, data = f"extents-doctor/{uuid.uuid4()}", b"written by extents doctor; may be deleted"
        await store.put(key, data)
        try:
            if await store.get(key, len(data)) != data:
                raise ConfigurationError(f"s3://{store.bucket}/{key} reads back as other bytes than were written")
            if [found async for found in store.list_keys(key)] != [key]:
                raise ConfigurationError(f"s3://{store.bucket}/{key} was written and is not listed")
        finally:
            await store.delete(key)
        try:
            await store.head(key)
        except MissingObjectError:
            return f"s3://{store.bucket} at {settings.wasabi.endpoint_url}: written, read, listed, deleted"
    raise ConfigurationError(f"s3://{store.bucket}/{key} was deleted and is still there")


async def _database(settings: Settings) -> str:
    async with open_rows(settings.supabase) as rows:
        await rows.check()
    return f"schema {settings.supabase.schema_name} at {settings.supabase.url}"


async def _model(settings: Settings) -> str:
    """Load the model that new runs get, and predict a pair with it."""
    version = settings.admission.model_version or builtin_model_version()
    if version != builtin_model_version():
        raise ConfigurationError(f"EXTENTS_MODEL_VERSION is {version}, this installation has {builtin_model_version()}")

    def predict() -> None:
        predictor = load_predictor(builtin_checkpoint_path(), EngineOptions(precision=settings.admission.precision))
        layout = Layout(Anchor.CENTER, 0, 0, 64, 32, 64, 32, b"")
        found = predictor.predict(predictor.open_video(layout), np.zeros((2, 32, 64, 3), np.uint8))
        if not np.isfinite(found).all():
            raise ConfigurationError(f"model {version} predicts {found.tolist()}")

    await asyncio.to_thread(predict)
    return f"{version}, {settings.admission.precision}: loads and predicts"


async def _device(settings: Settings) -> str:
    available = await asyncio.to_thread(pick_device)
    wanted = available if settings.worker.device == "auto" else settings.worker.device
    if wanted == "cuda" and available != "cuda":
        raise ConfigurationError("EXTENTS_DEVICE is cuda, and torch finds no CUDA device")
    if wanted == "cpu":
        raise Warned(f"no GPU: {describe_device('cpu')}; a GPU worker here runs on the CPU")
    return describe_device(wanted)
