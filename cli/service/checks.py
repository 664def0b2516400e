"""What ``extents doctor`` checks. A check returns what it found, or raises what is wrong; ``run_check`` turns both into a row."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib.util import find_spec
from typing import Final

from aiokafka.codec import has_gzip, has_lz4, has_snappy, has_zstd

from core.errors import ConfigurationError, ExtentsError, MissingObjectError, PermanentError
from core.optional_parts import missing_part
from core.settings import ALL_SECTIONS, ROLE_SECTIONS, Settings, SettingsError
from storage.connect import object_keys, open_rows, open_store
from storage.model_store import ModelStore
from storage.objects import ObjectStore
from streams.gpu_worker.model_cache import ModelCache
from streams.kafka.brokers import brokers
from streams.kafka.topic_state import read_topic_states
from streams.model_catalog import ModelCatalog
from streams.topics import Topics

SETTINGS: Final = "settings"
STORE: Final = "object store"
DATABASE: Final = "database"
DEVICE: Final = "device"
_NOT_FOR: Final = {"gpu": DATABASE, "coordinator": DEVICE}
"""The check that does not concern a kind of worker."""

CODECS: Final = {"gzip": has_gzip, "snappy": has_snappy, "lz4": has_lz4, "zstd": has_zstd}
"""Compressions that other clients may use."""

LIMIT_SECONDS: Final = 60.0
"""Limit for one check; a dependency that does not answer within it counts as down."""


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    SKIPPED = "skipped"
    """Not checked, because of a fault that another check reports."""


class Warned(Exception):
    """Something that works, but not as it should."""


class Skipped(Exception):
    """There is nothing to check; the message says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check; ``advice`` says what to do if it fails."""

    name: str
    run: Callable[[Settings], Awaitable[str]]
    advice: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    name: str
    state: State
    message: str
    advice: str | None = None


async def run_check(check: Check, settings: Settings) -> CheckResult:
    try:
        return CheckResult(check.name, State.OK, await asyncio.wait_for(check.run(settings), LIMIT_SECONDS))
    except Warned as warning:
        return CheckResult(check.name, State.WARNING, str(warning), check.advice)
    except Skipped as skipped:
        return CheckResult(check.name, State.SKIPPED, str(skipped))
    except SettingsError as error:
        if check.name == SETTINGS:
            return CheckResult(check.name, State.FAULT, "; ".join(error.faults), check.advice)
        return CheckResult(check.name, State.SKIPPED, "not checked: its settings are incomplete")
    except TimeoutError:  # also an OSError, so it comes first
        return CheckResult(check.name, State.FAULT, f"no answer within {LIMIT_SECONDS:.0f} s", check.advice)
    except ModuleNotFoundError as error:
        return CheckResult(check.name, State.FAULT, missing_part(error) or str(error), check.advice)
    except (ExtentsError, RuntimeError, OSError) as error:  # RuntimeError: of torch
        return CheckResult(check.name, State.FAULT, str(error) or type(error).__name__, check.advice)


async def _settings(settings: Settings, sections: Sequence[str]) -> str:
    settings.check(sections)
    object_keys(settings.keys)
    if unknown := settings.unknown():
        raise Warned("complete; " + "; ".join(unknown))
    return "complete"


async def _brokers(settings: Settings) -> str:
    async with brokers(settings.kafka) as admin:
        count = len((await admin.describe_cluster())["brokers"])
    if count < settings.kafka.replication_factor:
        raise ConfigurationError(
            f"{count} running, but KAFKA_REPLICATION_FACTOR is {settings.kafka.replication_factor}: topics cannot be created"
        )
    missing = [name for name, is_there in CODECS.items() if not is_there()]
    if missing:
        raise Warned(f"no library for records compressed with {', '.join(missing)}: such a record would end a worker; install cramjam")
    return f"{count} at {settings.kafka.bootstrap_servers}, {settings.kafka.security_protocol}; reads {', '.join(CODECS)}"


async def _topics(settings: Settings) -> str:
    specs, kafka = Topics(settings.topics).specs(), settings.kafka
    try:
        async with brokers(kafka):
            states = await read_topic_states(specs, kafka)
    except ExtentsError as error:
        raise Skipped("not checked: no brokers") from error
    wrong = [f"{state.spec.name} {fault}" for state in states for fault in state.faults]
    harmful = [state for state in states if state.faults and state.spec.needed]
    if len(wrong) == len(specs) and all(state.partitions is None for state in states):
        raise ConfigurationError(f"none of the {len(specs)} exists; the first is {specs[0].name}")
    if harmful:
        raise ConfigurationError("; ".join(wrong))
    if wrong:
        raise Warned(f"workers can work, but: {'; '.join(wrong)}")
    return f"{len(specs)}, {sum(spec.partitions for spec in specs)} partitions"


async def _readable_store(settings: Settings) -> str:
    """Log in, list and read."""
    async with open_store(settings.wasabi, object_keys(settings.keys)) as store:
        await store.check()
        await store.probe()
        return f"s3://{store.bucket} at {settings.wasabi.endpoint_url}: listed and read"


async def _writable_store(settings: Settings) -> str:
    """Log in, write, read back, list and delete."""
    keys = object_keys(settings.keys)
    async with open_store(settings.wasabi, keys) as store:
        await store.check()
        key, data = f"{keys.trial_folder}{uuid.uuid4()}", b"written by extents doctor; may be deleted"
        await store.put(key, data)
        try:
            if await store.get(key, len(data)) != data:
                raise ConfigurationError(f"s3://{store.bucket}/{key} reads back as different bytes from those written")
            if [listed async for listed in store.list_keys(key)] != [key]:
                raise ConfigurationError(f"s3://{store.bucket}/{key} was written and is not listed")
        finally:
            refused = await _delete(store, key)
        where = f"s3://{store.bucket} at {settings.wasabi.endpoint_url}"
        if refused is not None:  # the service itself never deletes, and needs no right to
            raise Warned(f"{where}: written, read and listed; this check's object could not be deleted: {refused}")
        try:
            await store.head(key)
        except MissingObjectError:
            return f"{where}: written, read, listed, deleted"
    raise ConfigurationError(f"s3://{store.bucket}/{key} was deleted and is still there")


async def _delete(store: ObjectStore, key: str) -> str | None:
    """Delete an object. Return why that was refused, or None."""
    try:
        await store.delete(key)
    except PermanentError as error:
        return str(error)
    return None


async def _database(settings: Settings) -> str:
    async with open_rows(settings.supabase) as rows:
        await rows.try_everything()
    return f"schema {settings.supabase.schema_name} at {settings.supabase.url}: everything that the service does was tried and rolled back"


async def _model(settings: Settings) -> str:
    """Find the model of EXTENTS_MODEL_VERSION, or the built-in one. If torch is installed, load it and predict with it."""
    async with open_store(settings.wasabi) as store:
        stored = ModelStore(store, object_keys(settings.keys))
        catalog = ModelCatalog(stored)
        model = await catalog.resolve(settings.admission.model_version or catalog.default_version)
        if not _has_torch():
            return f"{model.version}: found; not loaded, because torch is not installed"
        path = await ModelCache(stored, settings.worker.model_cache).weights(model.version, model.checkpoint_sha256)

    def predict() -> None:
        from inference.engine.device import pick_device
        from inference.engine.predictor import EngineOptions
        from inference.models.loading import load_predictor
        from inference.models.smoke_test import run_smoke_test

        device = "cpu" if settings.worker.device == "cpu" else pick_device()
        run_smoke_test(load_predictor(path, EngineOptions(device, settings.admission.precision)))

    await asyncio.to_thread(predict)
    return f"{model.version}: loads and predicts in {settings.admission.precision}"


async def _device(settings: Settings) -> str:
    if not _has_torch():
        raise Warned("torch is not installed: a coordinator runs here, but no GPU worker")
    from inference.engine.device import choose_device, describe_device, driver_advice

    device = await asyncio.to_thread(choose_device, settings.worker.device)
    if device == "cpu":
        raise Warned(f"no GPU is used: a GPU worker here runs on {describe_device('cpu')}. {driver_advice()}")
    return describe_device(device)


def _has_torch() -> bool:
    return find_spec("torch") is not None


CHECKS: Final = (
    Check("brokers", _brokers, "check that they run, and KAFKA_BOOTSTRAP_SERVERS, KAFKA_SECURITY_PROTOCOL and KAFKA_REPLICATION_FACTOR"),
    Check("topics", _topics, "create missing topics: extents topics create; look at the others: extents topics check"),
    Check(STORE, _writable_store, "check the WASABI_* settings, and that the key may read, write, list and delete in the bucket"),
    Check(DATABASE, _database, "check the SUPABASE_* settings, and apply the migrations: extents migrations print"),
    Check("model", _model, "set EXTENTS_MODEL_VERSION to one of extents models list, or store it: extents models push"),
    Check(DEVICE, _device, "for a GPU worker, install the driver and a CUDA build of torch; else set EXTENTS_DEVICE=cpu"),
)
"""In order of dependency: a later check usually fails if an earlier one does. The settings come first."""


_GPU_STORE: Final = Check(STORE, _readable_store, "check the WASABI_* settings, and that the key may read and list in the bucket")
"""A GPU worker writes nothing, so it does not need the right to."""


def checks_of(role: str | None) -> list[Check]:
    """The checks that a kind of worker needs; all of them for None."""
    sections = ALL_SECTIONS if role is None else ROLE_SECTIONS[role]
    advice = "set the variables named, in the environment or in .env; docs/configuration.md lists them all"
    settings = Check(SETTINGS, partial(_settings, sections=sections), advice)
    if role is None:
        return [settings, *CHECKS]
    needed = [check for check in CHECKS if check.name != _NOT_FOR[role]]
    return [settings, *(_GPU_STORE if role == "gpu" and check.name == STORE else check for check in needed)]
