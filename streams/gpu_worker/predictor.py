"""Holds the networks of this process and the single thread that runs them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from core.errors import CheckpointError, ConfigurationError, ExtentsError
from core.frames import plan_span
from core.logging import get_logger
from core.metrics import (
    BATCH_SIZE,
    DEVICE_INFO,
    GPU_COST,
    GPU_MEMORY,
    GPU_SECONDS,
    MODEL_INFO,
    MODELS_LOADED,
    PAIRS,
    model_label,
)
from core.settings import WorkerSettings, variable
from core.types import Layout, Precision
from inference.engine.allocation import disable_heap_trimming
from inference.engine.compile_cache import keep_compiled
from inference.engine.device import choose_device, describe_device, memory_gauges
from inference.engine.memory import memory_for
from inference.engine.predictor import EngineOptions, Frames, Predictor, Probabilities
from inference.engine.provenance import describe_engine
from inference.models.builtin import builtin_checkpoint_path, builtin_checkpoint_sha256, builtin_model_version
from inference.models.checkpoint import read_checkpoint
from inference.models.loading import load_predictor
from streams.gpu_worker.model_load_breaker import ModelLoadBreaker
from streams.gpu_worker.recent_work import RecentWork
from streams.records import Work
from streams.runtime.health import Health

log = get_logger(__name__)

T = TypeVar("T")

MODELS_LOADED_AT_ONCE = 3
"""Models in device memory: the current version, the previous one, and one under test."""

VIDEOS_KEPT = 16
"""Same as the number of cached layouts. The production network keeps 1.5 MB of each video on the device."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A span's result. ``engine`` describes how it was computed and goes into the run's provenance."""

    probabilities: Probabilities
    gpu_seconds: float
    engine: dict[str, str]


@dataclass(slots=True)
class LoadedModel:
    """A network on the device, and what it caches for each video, since spans of a video arrive in sequence."""

    predictor: Predictor
    videos: dict[tuple[UUID, str], Any] = field(default_factory=dict)

    def video(self, name: tuple[UUID, str], layout: Layout) -> Any:
        if name not in self.videos:
            while len(self.videos) >= VIDEOS_KEPT:
                del self.videos[next(iter(self.videos))]
            self.videos[name] = self.predictor.open_video(layout)
        return self.videos[name]


class SpanPredictor:
    """Loads models and predicts in its own thread, where calls never overlap."""

    def __init__(self, settings: WorkerSettings, health: Health, default_precision: Precision, usd_per_hour: float) -> None:
        self._settings, self._health = settings, health
        self._default_precision, self._usd_per_hour = default_precision, usd_per_hour
        self.device = choose_device(settings.device)
        self.description = describe_device(self.device)
        keep_compiled(settings.compile_cache)
        if self.device == "cpu":
            disable_heap_trimming()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._models: dict[tuple[str, Precision], LoadedModel] = {}
        self._versions: dict[tuple[str, Precision], str] = {}
        self._loading = asyncio.Lock()
        self.load_breaker = ModelLoadBreaker()
        self.recent_work = RecentWork()
        health.add_wait("model", self.load_breaker.wait_reason)
        DEVICE_INFO.labels(self.description).set(1)
        BATCH_SIZE.set(settings.batch_size)
        for kind, measure in memory_gauges(self.device).items():
            GPU_MEMORY.labels(kind).set_function(measure)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the thread, with the built-in model loaded and warmed up before the worker joins its group."""
        try:
            path = builtin_checkpoint_path()
            await self.load(builtin_model_version(), builtin_checkpoint_sha256(), self._default_precision, lambda: _builtin_weights(path))
            yield
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def load(
        self, version: str, checkpoint_sha256: str, precision: Precision, weights: Callable[[], Awaitable[Path]]
    ) -> "LoadedModel":
        """Return a model, loading it first if necessary. Several versions can be loaded at the same time.

        Args:
            weights: provides the file; called only if the model is not loaded.

        Raises:
            ModelLoadError: the model does not load on this worker, or recently did not.
            ConfigurationError: raised by ``weights``.
        """
        name = (checkpoint_sha256, precision)
        if name not in self._models:  # loaded models do not wait for one that is being fetched
            async with self._loading:
                if name not in self._models:
                    await self._add(name, version, weights)
        self._models[name] = self._models.pop(name)  # keeps the least recently used first
        return self._models[name]

    async def _add(self, name: tuple[str, Precision], version: str, weights: Callable[[], Awaitable[Path]]) -> None:
        checkpoint_sha256, precision = name
        self.load_breaker.check(checkpoint_sha256)
        try:
            path = await weights()
            loaded = await self._run(
                "load", "model_load_limit_seconds", version, lambda: self._load(version, path, checkpoint_sha256, precision)
            )
        except ConfigurationError:
            raise
        except ExtentsError as error:
            raise self.load_breaker.failed(checkpoint_sha256, version, error) from error
        self.load_breaker.loaded(checkpoint_sha256)
        while len(self._models) >= MODELS_LOADED_AT_ONCE:
            oldest = next(iter(self._models))
            del self._models[oldest], self._versions[oldest]
        self._models[name] = loaded
        self._versions[name] = version
        self._report()

    @property
    def loaded_versions(self) -> list[str]:
        """The models in memory, most recently used first. A model that is loaded in two precisions is listed once."""
        return list(dict.fromkeys(self._versions[name] for name in reversed(self._models)))

    def _report(self) -> None:
        MODELS_LOADED.set(len(self._models))
        MODEL_INFO.clear()
        for (checkpoint_sha256, precision), loaded in self._models.items():
            compiled = str(loaded.predictor.options.compile).lower()
            MODEL_INFO.labels(model_label(self._versions[checkpoint_sha256, precision]), precision, compiled).set(1)

    async def predict(self, model: "LoadedModel", work: Work, layout: Layout, frames: Frames) -> Prediction:
        """Predict the probabilities of a span's pairs, (pairs, 2, 5), and measure the seconds that the device took.

        Raises:
            TransientError: there is not enough memory.
        """
        detail = f"{work.run_id}:{work.span}"

        def predict() -> Prediction:
            pairs = plan_span(work.span, work.frame_count).pair_count
            with memory_for(f"span {work.span} of run {work.run_id}"), self.recent_work.computing(pairs):
                return _predict(model, work, layout, frames)

        prediction = await self._run("predict", "predict_limit_seconds", detail, predict)
        PAIRS.labels(work.precision).inc(len(prediction.probabilities))
        GPU_SECONDS.inc(prediction.gpu_seconds)
        GPU_COST.inc(prediction.gpu_seconds / 3600 * self._usd_per_hour)
        return prediction

    async def _run(self, name: str, limit: str, detail: str, action: Callable[[], T]) -> T:
        """Run a step in the thread; ``limit`` is the setting that limits it."""
        limit_seconds, setting = getattr(self._settings, limit), variable(WorkerSettings, limit)

        def step() -> T:
            with self._health.step(name, limit_seconds, detail, fatal=True, setting=setting):
                return action()

        return await asyncio.get_running_loop().run_in_executor(self._thread, step)

    def _load(self, version: str, path: Path, checkpoint_sha256: str, precision: Precision) -> "LoadedModel":
        started = time.monotonic()
        options = EngineOptions(self.device, precision, self._settings.batch_size, self._settings.compile)
        with memory_for(f"model {version}"):
            checkpoint = read_checkpoint(path)
            if checkpoint.sha256 != checkpoint_sha256:
                raise CheckpointError(f"model {version} has SHA-256 {checkpoint.sha256}, but its run needs {checkpoint_sha256}")
            loaded = LoadedModel(load_predictor(checkpoint, options))
        seconds = round(time.monotonic() - started, 2)
        log.info("model.loaded", model_version=version, device=self.description, precision=precision, seconds=seconds)
        return loaded


def _predict(model: "LoadedModel", work: Work, layout: Layout, frames: Frames) -> Prediction:
    started = time.perf_counter()
    probabilities = model.predictor.predict(model.video((work.video_id, work.layout_sha256), layout), frames)
    return Prediction(probabilities, time.perf_counter() - started, describe_engine(model.predictor.options))


async def _builtin_weights(path: Path) -> Path:
    return path
