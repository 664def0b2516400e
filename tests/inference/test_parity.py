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


@pytest.mark.parametrize("case", ["crop-right", "tile-left", "tile-right"])
def test_every_pair_of_a_short_case(production_predictor: ChannelFusionPredictor, case: str) -> None:
    """In float32 every probability of every pair is within the tolerance."""
    probabilities = stored(case).predict(production_predictor)
    assert probabilities.dtype == np.float32
    assert np.abs(probabilities - stored(case).expected).max() < TOLERANCE


def test_where_two_spans_meet(production_predictor: ChannelFusionPredictor) -> None:
    """The last pairs of a span and the first of the next one, which begins with the pair across both, are within the tolerance."""
    case = stored("spans-center")
    before, after = case.spans
    video, seam = production_predictor.open_video(case.layout), len(before) - 1
    for frames, pairs in ((before[-6:], slice(seam - 5, seam)), (after[:6], slice(seam, seam + 5))):
        assert np.abs(production_predictor.predict(video, frames) - case.expected[pairs]).max() < TOLERANCE


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
