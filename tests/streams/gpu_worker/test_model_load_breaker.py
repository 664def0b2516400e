"""A model that does not load is suspended visibly, and for longer each time."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from prometheus_client import REGISTRY

from core.errors import CheckpointError, ConfigurationError
from core.settings import WorkerSettings
from core.types import Precision
from inference.models.builtin import builtin_checkpoint_path, builtin_checkpoint_sha256, builtin_model_version
from streams.gpu_worker import model_load_breaker
from streams.gpu_worker.model_load_breaker import MAX_PAUSE_SECONDS, ModelLoadBreaker, ModelLoadError
from streams.gpu_worker.predictor import SpanPredictor
from streams.runtime.backoff import JITTER
from streams.runtime.health import Health

BROKEN = "ab" * 32


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def predictor(health: Health, tmp_path: Path) -> Iterator[SpanPredictor]:
    settings = WorkerSettings(_env_file=None, device="cpu", compile_cache=tmp_path)
    made = SpanPredictor(settings, health, Precision.FLOAT32, 1.1)
    yield made
    made._thread.shutdown()


class Weights:
    """Returns a file, or raises the given error, and counts the calls."""

    def __init__(self, result: Path | Exception) -> None:
        self.result, self.calls = result, 0

    async def __call__(self) -> Path:
        self.calls += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


async def load(predictor: SpanPredictor, weights: Weights, sha256: str = BROKEN) -> None:
    await predictor.load("v1", sha256, Precision.FLOAT32, weights)


async def test_a_failed_load_is_not_retried_at_once(predictor: SpanPredictor, health: Health) -> None:
    """A call shortly afterwards gets the same error without another try; readiness and a metric report it."""
    weights = Weights(CheckpointError("entry x is missing"))
    for _ in range(3):
        with pytest.raises(ModelLoadError, match="model v1 does not load: entry x is missing"):
            await load(predictor, weights)
    assert weights.calls == 1
    assert health.faults() == []
    (reason,) = health.waits()
    assert reason.startswith("model: model v1 does not load: entry x is missing; retried in ")
    assert REGISTRY.get_sample_value("extents_models_suspended") == 1


async def test_a_failed_load_is_retried_later(predictor: SpanPredictor, health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the pause the model is retried, and once it loads it is no longer suspended; both are logged."""
    monkeypatch.setattr(model_load_breaker, "FIRST_PAUSE_SECONDS", 0.01)
    sha256 = builtin_checkpoint_sha256()
    with structlog.testing.capture_logs() as logs:
        with pytest.raises(ModelLoadError) as raised:
            await load(predictor, Weights(CheckpointError("gone")), sha256)
        await asyncio.sleep(raised.value.retry_seconds)
        await load(predictor, Weights(builtin_checkpoint_path()), sha256)
    events = [entry["event"] for entry in logs if entry["event"].startswith("model.")]
    assert events == ["model.suspended", "model.loaded", "model.recovered"]
    assert health.waits() == []
    assert REGISTRY.get_sample_value("extents_models_suspended") == 0


def test_the_pause_doubles_to_a_minute() -> None:
    """Each further failure is followed by twice the pause, up to a limit."""
    breaker = ModelLoadBreaker()
    for expected in (1, 2, 4, 8, 16, 32, 60, MAX_PAUSE_SECONDS):
        pause = breaker.failed(BROKEN, "v1", CheckpointError("gone")).retry_seconds
        assert expected - 0.5 < pause <= expected * JITTER[1]


async def test_weights_other_than_admitted_suspend_the_model(predictor: SpanPredictor) -> None:
    """A file with another hash than the run's counts as one that does not load."""
    with pytest.raises(ModelLoadError, match="its run needs abab"):
        await load(predictor, Weights(builtin_checkpoint_path()))


async def test_a_fault_of_this_machine_does_not_suspend_the_model(predictor: SpanPredictor, health: Health) -> None:
    """A wrong setting ends the process and does not suspend the model."""
    with pytest.raises(ConfigurationError, match="folder"):
        await load(predictor, Weights(ConfigurationError("the folder cannot be written")))
    assert health.waits() == []


async def test_models_that_are_loaded_do_not_wait_for_one_that_is_fetched(predictor: SpanPredictor) -> None:
    """While the weights of one model are being fetched, a loaded model is returned at once."""
    version, sha256 = builtin_model_version(), builtin_checkpoint_sha256()
    loaded = await predictor.load(version, sha256, Precision.FLOAT32, Weights(builtin_checkpoint_path()))
    started, never = asyncio.Event(), asyncio.Event()

    async def on_the_way() -> Path:
        started.set()
        await never.wait()
        raise AssertionError

    fetching = asyncio.create_task(predictor.load("v1", BROKEN, Precision.FLOAT32, on_the_way))
    await started.wait()
    async with asyncio.timeout(60):
        assert await predictor.load(version, sha256, Precision.FLOAT32, Weights(RuntimeError("not asked for"))) is loaded
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
