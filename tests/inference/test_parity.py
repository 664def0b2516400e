"""The production architecture gives the old service's probabilities."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from benchmarks.reference import Reference
from inference.architectures.channel_fusion_lora_spatial import ChannelFusionPredictor
from inference.engine.predictor import Checkpoint, EngineOptions
from inference.models.loading import load_predictor
from tests.inference.conformance import CASES, TOLERANCE, load_case

stored = cache(load_case)


@pytest.mark.parametrize("case", CASES)
def test_every_pair_of_every_case(production_predictor: ChannelFusionPredictor, case: str) -> None:
    """In float32 every probability of every pair is within the tolerance, including the pair across two spans."""
    probabilities = stored(case).predict(production_predictor)
    assert probabilities.dtype == np.float32
    assert np.abs(probabilities - stored(case).expected).max() < TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_the_plain_reference(conformance_checkpoint: Checkpoint, case: str) -> None:
    """The plain reference, which the engine is compared with, is within the tolerance itself."""
    pairs = [0, 6, len(stored(case).spans[0]) - 2]
    reference = Reference(conformance_checkpoint.config, conformance_checkpoint.state)
    probabilities = reference.predict(stored(case).layout, stored(case).spans[0], pairs)
    assert np.abs(probabilities - stored(case).expected[pairs]).max() < TOLERANCE


@pytest.mark.parametrize("strategy", ["crop", "adaptive"])
def test_strips_are_treated_alike_whatever_the_checkpoint_says(conformance_checkpoint: Checkpoint, strategy: str) -> None:
    """A narrow strip is mirrored and a wide one cropped whatever the checkpoint's transform_strategy; the stored one is mirror_tile."""
    assert conformance_checkpoint.config["transform_strategy"] == "mirror_tile"
    other = replace(conformance_checkpoint, config={**conformance_checkpoint.config, "transform_strategy": strategy})
    predictor = load_predictor(other, EngineOptions())
    for case in ("crop-right", "tile-left"):
        probabilities = predictor.predict(predictor.open_video(stored(case).layout), stored(case).spans[0][:3])
        assert np.abs(probabilities - stored(case).expected[:2]).max() < TOLERANCE
