"""Several models in one worker, each with its own weights; the least recently used is dropped first."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from core.settings import WorkerSettings
from core.types import Anchor, Layout, Precision
from inference.models.builtin import builtin_checkpoint_path
from inference.models.checkpoint import read_checkpoint
from streams.gpu_worker.predictor import MODELS_LOADED_AT_ONCE, LoadedModel, SpanPredictor
from streams.runtime.health import Health
from tests.inference.webm import random_frames
from tests.streams.run_logs import work

LAYOUT = Layout(Anchor.CENTER, 0, 0, 64, 28, 64, 36, b"")


@pytest.fixture
def versions(tmp_path: Path) -> list[tuple[str, str, Path]]:
    """Models with different weights: version, SHA-256 and file."""
    results = []
    with safe_open(builtin_checkpoint_path(), "pt") as stored:
        metadata, state = stored.metadata(), {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - it is no dict
    for number in range(MODELS_LOADED_AT_ONCE + 1):
        path = tmp_path / f"v{number}.safetensors"
        save_file({**state, "classify.bias": state["classify.bias"] * (1 + number)}, path, metadata)
        results.append((f"v{number}", read_checkpoint(path).sha256, path))
    return results


@pytest.fixture
def predictor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SpanPredictor]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    predictor = SpanPredictor(WorkerSettings(_env_file=None, device="cpu", compile=False, batch_size=2), Health(), Precision.FLOAT32, 1.0)
    yield predictor
    predictor._thread.shutdown()


async def load(predictor: SpanPredictor, version: tuple[str, str, Path], fetched: list[str]) -> LoadedModel:
    name, sha256, path = version

    async def weights() -> Path:
        fetched.append(name)
        return path

    return await predictor.load(name, sha256, Precision.FLOAT32, weights)


async def test_two_versions_side_by_side(predictor: SpanPredictor, versions: list[tuple[str, str, Path]]):
    """Spans of two models may alternate: each gets the result of its own model, and neither model is loaded again."""
    frames, fetched, results = random_frames(3, 28, 64), [], []
    for version in (*versions[:2], *versions[:2]):
        model = await load(predictor, version, fetched)
        results.append((await predictor.predict(model, work(video_id=uuid4()), LAYOUT, frames)).probabilities)
    assert fetched == ["v0", "v1"]
    assert (results[0] == results[2]).all()
    assert (results[1] == results[3]).all()
    assert not np.allclose(results[0], results[1])


async def test_the_least_recently_used_model_is_unloaded(predictor: SpanPredictor, versions: list[tuple[str, str, Path]]):
    """As many models as the limit allows stay loaded; another one replaces the least recently used."""
    fetched: list[str] = []
    for version in (*versions[:-1], versions[0], versions[-1], versions[0], versions[1]):
        await load(predictor, version, fetched)
    assert fetched == ["v0", "v1", "v2", "v3", "v1"]
