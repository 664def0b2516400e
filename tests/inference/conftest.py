"""Shared by many tests and made once per session: a checkpoint of production's shape (109 MB, built by its recipe in a second) with its
predictor, and the material of synthetic clips.
"""

import importlib.util
import shutil
from pathlib import Path

import pytest
import torch

from benchmarks.weights import build_content
from inference.architectures.channel_fusion_lora_spatial import ChannelFusionPredictor
from inference.engine.predictor import Checkpoint, EngineOptions
from inference.models.checkpoint import read_checkpoint
from inference.models.loading import load_predictor
from training.synthetic.clip import Stage
from training.synthetic.fonts import FontShelf
from training.synthetic.ground import TRAINING_SHOTS
from training.synthetic.words import Script


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


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Textures and footage behind letters of one Latin face."""
    root = tmp_path_factory.mktemp("fonts")
    files = root / "node_modules" / "@fontsource" / "plain" / "files"
    files.mkdir(parents=True)
    spec = importlib.util.find_spec("font_source_sans_pro")
    assert spec is not None
    assert spec.origin is not None
    face = Path(spec.origin).parent / "files" / "SourceSansPro-Regular.ttf"
    shutil.copyfile(face, files / "plain-latin-400-normal.woff2")  # FreeType recognises content, not names
    return Stage(FontShelf(root, {Script.LATIN: "plain"}), TRAINING_SHOTS, footage_share=0.3)
