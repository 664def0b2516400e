"""The model that a local command runs, and how it runs it."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from core.settings import Settings, WorkerSettings
from core.types import Precision
from inference.engine.allocation import disable_heap_trimming
from inference.engine.compile_cache import keep_compiled
from inference.engine.device import choose_device
from inference.engine.predictor import Checkpoint, EngineOptions
from inference.models.builtin import builtin_checkpoint_path, builtin_model_version
from inference.models.checkpoint import read_checkpoint


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint, its version, and the path recorded in the run database."""

    version: str
    checkpoint: Checkpoint
    recorded_path: str


def choose_model(settings: Settings, checkpoint: Path | None = None, model_version: str | None = None) -> Model:
    """Choose the model of a file, else that of a version, else the built-in one.

    Args:
        checkpoint: a weights file; its version is ``model_version``, or by default one that contains its hash.
        model_version: without a file, the version of the built-in model or of one in the store, which is fetched.

    Raises:
        CheckpointError: the file cannot be read as a checkpoint.
        UnknownModelError: the store has no model of that version.
        ConfigurationError: the model is in the store, but the store's settings are missing.
    """
    if checkpoint is not None:
        read = read_checkpoint(checkpoint)
        stem = re.sub(r"[^A-Za-z0-9._-]", "-", checkpoint.stem).lstrip("._-")[:48] or "file"
        return Model(model_version or f"{stem}-{read.sha256[:12]}", read, str(checkpoint))
    if model_version not in (None, builtin_model_version()):
        path, recorded = asyncio.run(_stored_weights(settings, str(model_version)))
        return Model(str(model_version), read_checkpoint(path), recorded)
    path = builtin_checkpoint_path()
    return Model(builtin_model_version(), read_checkpoint(path), f"builtin/{path.name}")


async def _stored_weights(settings: Settings, version: str) -> tuple[Path, str]:
    # Imported here, so that a film needs neither the store's client nor what the service is made of.
    from storage.connect import object_keys, open_store
    from storage.model_store import ModelStore
    from streams.gpu_worker.model_cache import ModelCache
    from streams.model_catalog import ModelCatalog

    async with open_store(settings.wasabi) as store:
        stored = ModelStore(store, object_keys(settings.keys))
        model = await ModelCatalog(stored).resolve(version)
        return await ModelCache(stored, settings.worker.model_cache).weights(version, model.checkpoint_sha256), model.path


def engine_options(settings: WorkerSettings, precision: Precision, batch_size: int | None) -> EngineOptions:
    """The settings of a GPU worker, which apply here too, with the command line's options on top."""
    keep_compiled(settings.compile_cache)
    device = choose_device(settings.device)
    if device == "cpu":
        disable_heap_trimming()
    return EngineOptions(
        device=device,
        precision=precision,
        batch_size=batch_size or settings.batch_size,
        compile=settings.compile,
    )
