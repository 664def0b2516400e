"""The model that a local command runs, and how it runs it."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from core.settings import Settings, WorkerSettings
from core.types import Precision
from inference.engine.allocation import disable_heap_trimming
from inference.engine.compile_cache import keep_compiled
from inference.engine.predictor import Checkpoint, EngineOptions, Predictor
from inference.engine.processor import NVIDIA_DRIVER
from inference.models.builtin import builtin_checkpoint_path, builtin_checkpoint_sha256, builtin_model_version


@dataclass(frozen=True, slots=True)
class Model:
    """A model, its version, the digest of its weights file, and the path recorded in the run database.

    Attributes:
        checkpoint: its weights; None for the built-in model.
    """

    version: str
    sha256: str
    recorded_path: str
    checkpoint: Checkpoint | None = None


def choose_model(settings: Settings, checkpoint: Path | None = None, model_version: str | None = None) -> Model:
    """Choose the model of a weights file; without one, the model of a version; without either, the built-in model.

    Args:
        checkpoint: a weights file; its version is ``model_version``, or by default one that contains its hash.
        model_version: without a file, the version of the built-in model or of one in the store, which is fetched.

    Raises:
        CheckpointError: the file cannot be read as a checkpoint.
        UnknownModelError: the store has no model of that version.
        ConfigurationError: the model is in the store, but the store's settings are missing.
    """
    if checkpoint is None and model_version in (None, builtin_model_version()):
        return Model(builtin_model_version(), builtin_checkpoint_sha256(), f"builtin/{builtin_checkpoint_path().name}")
    from inference.models.checkpoint import read_checkpoint  # imports torch, which the built-in model does not need

    if checkpoint is not None:
        read = read_checkpoint(checkpoint)
        stem = re.sub(r"[^A-Za-z0-9._-]", "-", checkpoint.stem).lstrip("._-")[:48] or "file"
        return Model(model_version or f"{stem}-{read.sha256[:12]}", read.sha256, str(checkpoint), read)
    path, recorded = asyncio.run(_stored_weights(settings, str(model_version)))
    read = read_checkpoint(path)
    return Model(str(model_version), read.sha256, recorded, read)


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


@dataclass(frozen=True, slots=True)
class Engine:
    """How local commands run networks: with the settings of a GPU worker, except where a command's options override them.

    The built-in model runs on ONNX Runtime unless a GPU or another precision is wanted; everything else runs on torch.
    """

    settings: WorkerSettings
    precision: Precision
    batch_size: int | None = None

    def load(self, model: Model) -> Predictor:
        """Load a model. Takes seconds with torch, and a moment without.

        Raises:
            CheckpointError: the checkpoint does not fit its architecture.
            ConfigurationError: the device is ``cuda``, and there is none.
            ModuleNotFoundError: torch is needed and not installed; the command line says what to install.
        """
        batch_size = self.batch_size or self.settings.batch_size
        if model.checkpoint is None and self.precision is Precision.FLOAT32 and not self._wants_gpu():
            from inference.models.session import BuiltinSession

            disable_heap_trimming()
            return BuiltinSession(batch_size)
        from inference.engine.device import choose_device
        from inference.models.loading import load_predictor

        keep_compiled(self.settings.compile_cache)
        device = choose_device(self.settings.device)
        if device == "cpu":
            disable_heap_trimming()
        options = EngineOptions(device=device, precision=self.precision, batch_size=batch_size, compile=self.settings.compile)
        return load_predictor(model.checkpoint or builtin_checkpoint_path(), options)

    def _wants_gpu(self) -> bool:
        """Whether to use a GPU. Torch takes seconds to load, so it is asked only on a machine with NVIDIA's driver."""
        if self.settings.device != "auto" or not NVIDIA_DRIVER.exists():
            return self.settings.device == "cuda"
        try:
            from inference.engine.device import pick_device
        except ModuleNotFoundError:
            return False
        return pick_device() == "cuda"
