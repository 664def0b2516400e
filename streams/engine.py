"""The networks of this process, and the one thread that runs them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from core.errors import CheckpointError
from core.logging import get_logger
from core.metrics import GPU_COST, GPU_SECONDS, MODELS_LOADED, PAIRS
from core.settings import WorkerSettings
from core.types import Layout, Precision
from inference.builtin import builtin_checkpoint_path, builtin_model_version
from inference.checkpoint import read_checkpoint
from inference.device import describe_device, pick_device, software_versions
from inference.loading import load_predictor
from inference.predictor import EngineOptions, Frames, Predictor, Probabilities
from streams.health import Health
from streams.records import Work

log = get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prediction:
    probabilities: Probabilities
    gpu_seconds: float


@dataclass(slots=True)
class _Loaded:
    predictor: Predictor
    video: tuple[tuple[str, str], Any] | None = None  # of the last span's video, since the next is mostly of the same


class Engine:
    """Loads models and predicts, in a thread of its own: calls never overlap there."""

    def __init__(self, settings: WorkerSettings, health: Health, usd_per_hour: float) -> None:
        self._settings, self._health, self._usd_per_hour = settings, health, usd_per_hour
        self.device = pick_device() if settings.device == "auto" else settings.device
        self.description = describe_device(self.device)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._models: dict[tuple[str, Precision], _Loaded] = {}

    def about(self) -> dict[str, str]:
        """What a result's last bits depend on, beside the checkpoint and the precision."""
        options = {"batch_size": str(self._settings.batch_size), "compiled": str(self._settings.compile).lower()}
        return {**software_versions(self.device), **options}

    @asynccontextmanager
    async def warm(self, version: str, checkpoint_sha256: str, precision: Precision) -> AsyncIterator[None]:
        """Load a model before the worker joins its group; the thread ends with it."""
        try:
            await self.load(version, checkpoint_sha256, precision)
            yield
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def load(self, version: str, checkpoint_sha256: str, precision: Precision) -> None:
        """Load a model, unless it is loaded: a step of its own, before a span starts.

        Raises:
            CheckpointError: there are no such weights here, or they are not what the run was admitted with.
        """
        if (checkpoint_sha256, precision) not in self._models:
            await self._run(
                "load", self._settings.model_load_limit_seconds, version, lambda: self._load(version, checkpoint_sha256, precision)
            )

    async def predict(self, work: Work, layout: Layout, frames: Frames) -> Prediction:
        """The probabilities of a span's pairs, (pairs, 2, 5), and the seconds that the device took."""
        detail = f"{work.run_id}:{work.span}"
        prediction = await self._run("predict", self._settings.predict_limit_seconds, detail, lambda: self._predict(work, layout, frames))
        PAIRS.labels(work.precision).inc(len(prediction.probabilities))
        GPU_SECONDS.inc(prediction.gpu_seconds)
        GPU_COST.inc(prediction.gpu_seconds / 3600 * self._usd_per_hour)
        return prediction

    async def _run(self, name: str, limit_seconds: float, detail: str, action: Callable[[], T]) -> T:
        def step() -> T:
            with self._health.step(name, limit_seconds, detail, fatal=True):
                return action()

        return await asyncio.get_running_loop().run_in_executor(self._thread, step)

    def _load(self, version: str, checkpoint_sha256: str, precision: Precision) -> None:
        if version != builtin_model_version():
            raise CheckpointError(f"model {version} is not on this worker, which has {builtin_model_version()}")
        started = time.monotonic()
        checkpoint = read_checkpoint(builtin_checkpoint_path())
        if checkpoint.sha256 != checkpoint_sha256:
            raise CheckpointError(f"model {version} has SHA-256 {checkpoint.sha256}, the run was admitted with {checkpoint_sha256}")
        options = EngineOptions(self.device, precision, self._settings.batch_size, self._settings.compile)
        self._models[checkpoint_sha256, precision] = _Loaded(load_predictor(checkpoint, options))
        MODELS_LOADED.set(len(self._models))
        log.info(
            "model.loaded",
            model_version=version,
            device=self.description,
            precision=precision,
            seconds=round(time.monotonic() - started, 2),
        )

    def _predict(self, work: Work, layout: Layout, frames: Frames) -> Prediction:
        loaded = self._models[work.checkpoint_sha256, work.precision]
        name = (str(work.video_id), work.layout_sha256)
        started = time.perf_counter()
        if loaded.video is None or loaded.video[0] != name:
            loaded.video = (name, loaded.predictor.open_video(layout))
        probabilities = loaded.predictor.predict(loaded.video[1], frames)
        return Prediction(probabilities, time.perf_counter() - started)
