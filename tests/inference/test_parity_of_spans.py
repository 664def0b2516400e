"""The production architecture gives the old service's probabilities over two whole spans."""

import numpy as np

from inference.architectures.channel_fusion_lora_spatial import ChannelFusionPredictor
from tests.inference.conformance import TOLERANCE, load_case


def test_every_pair_of_two_spans(production_predictor: ChannelFusionPredictor) -> None:
    """In float32 every probability of all 529 pairs is within the tolerance."""
    case = load_case("spans-center")
    assert len(case.spans) == 2
    assert np.abs(case.predict(production_predictor) - case.expected).max() < TOLERANCE
