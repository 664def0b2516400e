"""The built-in model: its file, what it finds in stored videos, and what every predictor promises."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from core.captions import find_captions
from core.errors import CheckpointError, PermanentError
from core.types import LABELS
from inference.architectures import find_architecture
from inference.architectures.siamese_strip import NAME, SiameseStrip, to_canvas
from inference.engine.predictor import Checkpoint, EngineOptions, Frames, Predictor
from inference.models.builtin import builtin_checkpoint_path, builtin_model_version
from inference.models.checkpoint import read_checkpoint
from inference.models.loading import load_predictor
from tests.inference.conformance import DATA, load_case
from training.evaluate import extents


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_predictor(builtin_checkpoint_path(), EngineOptions())


@pytest.fixture(scope="module")
def strips() -> Frames:
    return np.random.default_rng(5).integers(0, 256, (12, 28, 402, 3), np.uint8)


def test_the_weights_are_small_and_name_their_version() -> None:
    """The weights stay under 2 MB, and the model's version comes from their digest."""
    path = builtin_checkpoint_path()
    digest = read_checkpoint(path).sha256
    assert path.stat().st_size < 2_000_000
    assert builtin_model_version() == f"builtin-{digest[:12]}"
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", builtin_model_version())


def test_the_figures_are_those_of_the_weights() -> None:
    """The measurement beside the weights, and the model card made from it, belong to this file."""
    figures = json.loads(builtin_checkpoint_path().with_suffix(".json").read_text())
    card = (Path(__file__).parents[2] / "docs" / "model-card.md").read_text()
    assert figures["sha256"] == read_checkpoint(builtin_checkpoint_path()).sha256
    assert figures["sha256"] in card


@pytest.mark.parametrize("case", ["spans-center", "tile-left", "tile-right", "crop-right"])
def test_captions_of_stored_videos_are_exact(predictor: Predictor, case: str) -> None:
    """All captions of the conformance videos are found with their first and last frame, and no others."""
    captions = json.loads((DATA / case / "video.json").read_text())["caption_by_frame"]
    numbers = np.cumsum([True, *(a != b for a, b in pairwise(captions))])
    truth = extents(np.where(np.array(captions) == "", 0, numbers))
    captions = find_captions(load_case(case).predict(predictor)).captions
    assert [(caption.first_frame, caption.last_frame) for caption in captions] == truth


@pytest.mark.parametrize("size", [(20, 300), (28, 402), (60, 300), (100, 1440), (1, 1), (37, 2001)])
def test_strips_of_any_size_give_probabilities(predictor: Predictor, size: tuple[int, int]) -> None:
    """Strips of any shape give five probabilities that sum to 1 for each pair and direction."""
    frames = np.random.default_rng(0).integers(0, 256, (3, *size, 3), np.uint8)
    result = predictor.predict(None, frames)
    assert result.shape == (2, 2, len(LABELS))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.sum(2), 1, atol=1e-5)


def test_a_pair_does_not_depend_on_its_batch(predictor: Predictor, strips: Frames) -> None:
    """A pair has the same probabilities alone, in a span, and in batches of another size."""
    whole = predictor.predict(None, strips)
    other = load_predictor(builtin_checkpoint_path(), EngineOptions(batch_size=5)).predict(None, strips)
    alone = np.concatenate([predictor.predict(None, strips[i : i + 2]) for i in range(len(strips) - 1)])
    np.testing.assert_allclose(other, whole, atol=1e-5)
    np.testing.assert_allclose(alone, whole, atol=1e-5)


def test_out_of_memory_halves_the_batch(predictor: Predictor, strips: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    """After running out of memory, every pair has its result, and the options show the batch size that fits."""
    whole = predictor.predict(None, strips)
    short = load_predictor(builtin_checkpoint_path(), EngineOptions(batch_size=8))
    encode = SiameseStrip.encode

    def short_of_memory(network: SiameseStrip, canvases: torch.Tensor) -> torch.Tensor:
        if len(canvases) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(network, canvases)

    monkeypatch.setattr(SiameseStrip, "encode", short_of_memory)
    np.testing.assert_allclose(short.predict(None, strips), whole, atol=1e-5)
    assert short.options.batch_size == 2


def test_what_is_not_finite_is_no_result(strips: Frames) -> None:
    """Weights that overflow raise an error that names the precision."""
    good = read_checkpoint(builtin_checkpoint_path())
    state = {**good.state, "classify.weight": torch.full_like(good.state["classify.weight"].float(), 3e38)}
    predictor = find_architecture(NAME).load(Checkpoint(NAME, good.config, state, good.sha256, "some.safetensors"), EngineOptions())
    with pytest.raises(PermanentError, match="not finite in float32"):
        predictor.predict(None, strips)


def test_backward_is_forward_of_the_turned_pair(predictor: Predictor, strips: Frames) -> None:
    """Reversing the order of frames exchanges the two directions."""
    there, back = predictor.predict(None, strips), predictor.predict(None, strips[::-1])
    np.testing.assert_allclose(back[::-1, 0], there[:, 1], atol=1e-5)


def test_a_wrong_checkpoint_is_refused_by_name() -> None:
    """The error names a missing, unknown, misshapen or broken entry."""
    good = read_checkpoint(builtin_checkpoint_path())
    name = "classify.bias"
    broken = {
        "missing": {key: value for key, value in good.state.items() if key != name},
        "not part of": {**good.state, "extra.weight": torch.zeros(1)},
        "shape": {**good.state, name: torch.zeros(4)},
        "holds NaN": {**good.state, name: torch.full((5,), torch.nan)},
    }
    for reason, state in broken.items():
        checkpoint = Checkpoint(NAME, good.config, state, good.sha256, "some.safetensors")
        with pytest.raises(CheckpointError, match=rf"some\.safetensors: .*(classify\.bias|extra\.weight).*{reason}"):
            find_architecture(NAME).load(checkpoint, EngineOptions())


def test_canvases_are_scaled_to_one() -> None:
    """Black is -1 and white is 1 everywhere on the stretched strip."""
    strips = np.stack([np.zeros((20, 90, 3), np.uint8), np.full((20, 90, 3), 255, np.uint8)])
    canvases = to_canvas(torch.from_numpy(strips))
    assert canvases.shape == (2, 3, 32, 512)
    assert canvases[0].eq(-1).all()
    assert canvases[1].eq(1).all()
