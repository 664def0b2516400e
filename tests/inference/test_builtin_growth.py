"""A larger network begins as the trained one that it grew from, and learns from a teacher what that one knows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import CheckpointError
from core.labels import EMPTY_EMPTY
from inference.architectures.siamese_strip import NetworkSize, SiameseStrip
from inference.engine.predictor import EngineOptions
from inference.models.builtin import builtin_checkpoint_path
from inference.models.checkpoint import read_checkpoint
from inference.models.loading import load_predictor
from training.__main__ import save_network
from training.batches import Batch, glimpses_of, tightened
from training.growth import grow
from training.train import Trainee, load_network

SMALL = NetworkSize(features=8, details=1, refinements=1, contrasts=8, comparisons=1, gathered=8)
LARGE = NetworkSize(features=12, details=2, refinements=2, contrasts=10, comparisons=3, gathered=12)


@pytest.fixture
def trained() -> SiameseStrip:
    torch.manual_seed(0)
    return SiameseStrip(SMALL).eval()


@pytest.fixture
def canvases() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (6, 3, 32, 512)).astype(np.float32))


def test_a_grown_network_computes_nearly_the_same(trained: SiameseStrip, canvases: torch.Tensor) -> None:
    """A grown network gives nearly the probabilities of the one that it grew from, and the same ones if nothing grew."""
    with torch.inference_mode():
        torch.testing.assert_close(grow(trained, LARGE)(canvases), trained(canvases), atol=0.02, rtol=0)
        torch.testing.assert_close(grow(trained, SMALL)(canvases), trained(canvases))


def test_every_new_weight_can_learn(trained: SiameseStrip, canvases: torch.Tensor) -> None:
    """Each tensor of a grown network has a gradient within a few steps: new channels are read first, and then change what they see."""
    torch.manual_seed(0)
    grown = grow(trained, LARGE)
    optimiser = torch.optim.SGD(grown.parameters(), 0.1)
    for _ in range(5):
        optimiser.zero_grad()
        (-grown(canvases)[..., EMPTY_EMPTY].log().mean()).backward()
        optimiser.step()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in grown.parameters())


def test_a_network_does_not_shrink(trained: SiameseStrip) -> None:
    """A smaller size is refused, and the error names what would shrink."""
    with pytest.raises(ValueError, match="features, comparisons"):
        grow(trained, replace(SMALL, features=4, comparisons=0))


def test_a_checkpoint_says_how_large_its_network_is(trained: SiameseStrip, tmp_path: Path) -> None:
    """Weights of any size are stored with it, and load again; a config without sizes means the first released ones."""
    strips = np.random.default_rng(0).integers(0, 256, (3, 28, 402, 3), np.uint8)
    save_network(grow(trained, LARGE), tmp_path / "large.safetensors")
    assert NetworkSize.parse(read_checkpoint(tmp_path / "large.safetensors").config) == LARGE
    assert load_predictor(tmp_path / "large.safetensors", EngineOptions()).predict(None, strips).shape == (2, 2, 5)
    assert NetworkSize.parse({"note": "another field"}) == NetworkSize(64, 1, 3, 80, 3, 96)


@pytest.mark.parametrize("wrong", [0, 2000, 1.5, "64", True, None])
def test_a_size_that_is_none_is_refused(wrong: object) -> None:
    """A size in a checkpoint's config that no network has is refused by its name."""
    with pytest.raises(CheckpointError, match=r"config: features is .*, expected an integer from 1 to 1024"):
        NetworkSize.parse({"features": wrong})


def test_a_teacher_is_followed_only_in_what_it_knows(canvases: torch.Tensor) -> None:
    """A teacher's answers add nothing for later kinds, nor where they are those of the trained network itself."""
    teacher = load_network(builtin_checkpoint_path()).eval()
    trainee = Trainee(teacher)
    other = SiameseStrip().eval()
    with torch.no_grad():
        other.classify.weight.zero_()
        other.classify.bias[EMPTY_EMPTY] = 2.0  # right, but less sure
    batch = Batch(
        np.array([0, 1]),
        canvases[None, [0, 0, 0, 0, 0]].repeat(2, 1, 1, 1, 1),
        torch.zeros((2, 5, 8, 128)),
        torch.full((24,), EMPTY_EMPTY),
        torch.ones(24),
        torch.tensor([*(4 * [0] + 4 * [1]) * 2, *(2 * [0] + 2 * [1]) * 2]),
        torch.tensor([False, False]),
        canvases[:2],
        torch.tensor([0, -1]),
    )
    with torch.no_grad():
        alone = trainee.loss(batch, None)[0]
        assert trainee.loss(batch, teacher)[0] == pytest.approx(float(alone), abs=1e-3)
        assert trainee.loss(batch, other)[0] > alone + 1e-3
        assert trainee.loss(replace(batch, later=torch.tensor([True, True])), other)[0] == pytest.approx(float(alone), abs=1e-6)


def test_a_glimpse_is_a_part_of_a_frame_and_says_whether_it_shows_a_caption() -> None:
    """A glimpse's size is the canvas's; it shows a caption, none or a little of one as the map of its part does."""
    rng = np.random.default_rng(0)
    canvases, cover = torch.zeros((40, 5, 3, 32, 512)), torch.zeros((40, 5, 8, 128))
    canvases[10:20], cover[10:20] = 1.0, 1.0
    cover[20:, :, :, :4] = 0.1  # a caption that is hardly there, at the left
    glimpses, writing = glimpses_of(canvases, cover, rng)
    assert glimpses.shape == (40, 3, 32, 512)
    assert glimpses[:10].eq(0).all()
    assert glimpses[10:20].eq(1).all()
    assert writing[:10].eq(0).all()
    assert writing[10:20].eq(1).all()
    assert set(writing[20:].tolist()) == {0, -1}


def test_a_tightened_strip_keeps_its_letters() -> None:
    """Edges are cut off only beside the letters, so that letters and their map grow together and none is lost."""
    rng = np.random.default_rng(0)
    cover = torch.zeros((5, 8, 128))
    cover[:, 3:5, 40:80] = 1.0
    canvases = (2 * cover.repeat_interleave(4, 1).repeat_interleave(4, 2) - 1)[:, None].repeat(1, 3, 1, 1)
    grown = 0
    for _ in range(20):
        tight, tight_cover = tightened(canvases, cover, rng)
        assert tight.shape == canvases.shape
        assert tight_cover.sum() >= cover.sum() - 1e-3
        grown += bool(tight_cover.sum() > 1.2 * cover.sum())
        shrunk = torch.nn.functional.avg_pool2d((tight[:, 0] + 1) / 2, 4)
        torch.testing.assert_close(shrunk, tight_cover, atol=0.3, rtol=0)
    assert grown > 10
