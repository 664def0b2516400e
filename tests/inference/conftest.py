"""The production-shaped checkpoint (109 MB, built by its recipe in a second) and its predictor: each is made once a session."""

from pathlib import Path

import pytest
import torch

from benchmarks.weights import build_content
from inference.architectures.channel_fusion_lora_spatial import ChannelFusionPredictor
from inference.engine.predictor import Checkpoint, EngineOptions
from inference.models.checkpoint import read_checkpoint
from inference.models.loading import load_predictor


@pytest.fixture(scope="session")
def conformance_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "conformance.pt"
    torch.save(build_content(), path)
    return path


@pytest.fixture(scope="session")
def conformance_checkpoint(conformance_file: Path) -> Checkpoint:
    return read_checkpoint(conformance_file)


@pytest.fixture(scope="session")
def production_predictor(conformance_checkpoint: Checkpoint) -> ChannelFusionPredictor:
    """Has the default options. A test that changes options builds another predictor from its classifier."""
    predictor = load_predictor(conformance_checkpoint, EngineOptions())
    assert isinstance(predictor, ChannelFusionPredictor)
    return predictor
