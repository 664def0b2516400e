"""The built-in model gives the same results on ONNX Runtime as on torch, and its two files belong together."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from core.types import LABELS
from inference.architectures.siamese_strip import CANVAS, to_canvas
from inference.engine.canvas import to_canvases
from inference.engine.predictor import EngineOptions, Frames, Predictor
from inference.engine.provenance import describe_engine, describe_hardware
from inference.models.builtin import builtin_checkpoint_path, builtin_checkpoint_sha256, builtin_onnx_path
from inference.models.loading import load_predictor
from inference.models.session import BuiltinSession
from tests.inference.conformance import load_case
from tests.patience import HANGS_AFTER
from training.onnx_file import write_onnx


@pytest.fixture(scope="module")
def session() -> BuiltinSession:
    return BuiltinSession(batch_size=8)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_predictor(builtin_checkpoint_path(), EngineOptions())


def random_strips(count: int, height: int, width: int) -> Frames:
    return np.random.default_rng(7).integers(0, 256, (count, height, width, 3), np.uint8)


def test_the_file_is_made_from_the_weights(session: BuiltinSession, tmp_path: Path) -> None:
    """The ONNX file names the digest of the weights beside it, and is what ``python -m training onnx`` makes from them now."""
    assert session.checkpoint_sha256 == builtin_checkpoint_sha256()
    write_onnx(builtin_checkpoint_path(), tmp_path / "again.onnx")
    assert builtin_onnx_path().read_bytes() == (tmp_path / "again.onnx").read_bytes()


@pytest.mark.parametrize("size", [CANVAS, (28, 402), (100, 1440), (1, 1), (37, 2001)])
def test_probabilities_are_those_of_torch(session: BuiltinSession, predictor: Predictor, size: tuple[int, int]) -> None:
    """Strips of any size have the same probabilities on both runtimes, within what rounding in float32 explains."""
    strips = random_strips(20, *size)
    strips[5:12] = strips[5]  # some pairs show the same
    np.testing.assert_allclose(session.predict(None, strips), predictor.predict(None, strips), atol=1e-5)


@pytest.mark.parametrize("case", ["spans-center", "tile-left", "tile-right", "crop-right"])
def test_stored_videos_have_the_same_probabilities(session: BuiltinSession, predictor: Predictor, case: str) -> None:
    """The conformance videos have the same probabilities and captions on both runtimes."""
    video = load_case(case)
    np.testing.assert_allclose(video.predict(session), video.predict(predictor), atol=1e-5)


@pytest.mark.parametrize("size", [CANVAS, (20, 300), (60, 300), (100, 1440), (1, 1), (31, 511)])
def test_strips_are_resized_as_by_torch(size: tuple[int, int]) -> None:
    """NumPy and torch make equal canvases, whether a strip is shrunk or enlarged."""
    strips = random_strips(2, *size)
    np.testing.assert_allclose(to_canvases(strips, *CANVAS), to_canvas(torch.from_numpy(strips)).numpy(), atol=1e-5)


def test_a_pair_does_not_depend_on_its_batch(session: BuiltinSession) -> None:
    """A pair has the same probabilities in batches of another size, and a single frame has no pair."""
    strips = random_strips(12, 28, 402)
    np.testing.assert_allclose(BuiltinSession(batch_size=5).predict(None, strips), session.predict(None, strips), atol=1e-6)
    assert session.predict(None, strips[:1]).shape == (0, 2, len(LABELS))


def test_nothing_is_reported_or_left_behind(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry is off: it leaves neither an identifier in the user's home nor a file anywhere else."""
    program = "from inference.models.session import BuiltinSession; BuiltinSession(1)"
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(tmp_path))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1", **places}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, timeout=HANGS_AFTER)
    assert list(tmp_path.rglob("*")) == []


def test_its_provenance_names_the_runtime(session: BuiltinSession) -> None:
    """The provenance of a run that ONNX Runtime computed names that runtime and not torch."""
    provenance = describe_engine(session.options)
    assert provenance["onnxruntime"]
    assert provenance["batch_size"] == "8"
    assert "torch" not in provenance
    assert describe_hardware(session.options).endswith("threads")
