"""The production-shaped checkpoint, built once a session: 109 MB that the recipe makes in a second."""

from pathlib import Path

import pytest
import torch

from benchmarks.weights import build_content
from inference.checkpoint import read_checkpoint
from inference.predictor import Checkpoint


@pytest.fixture(scope="session")
def conformance_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "conformance.pt"
    torch.save(build_content(), path)
    return path


@pytest.fixture(scope="session")
def conformance_checkpoint(conformance_file: Path) -> Checkpoint:
    return read_checkpoint(conformance_file)
