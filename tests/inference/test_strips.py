"""Frames become the network's strips, and the layout its features."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.reference import make_strip
from core.types import Anchor, Layout
from inference.architectures.channel_fusion_lora_spatial.strips import (
    fit_on_device,
    fit_with_pillow,
    spatial_features,
    strip_columns,
)
from tests.inference.webm import random_frames

LAYOUT = Layout(Anchor.CENTER, 100, 900, 500, 1000, 1920, 1080, b"")


@settings(max_examples=30, deadline=None)
@given(height=st.integers(8, 120), aspect=st.floats(0.9, 40), anchor=st.sampled_from(Anchor), seed=st.integers(0, 99))
def test_strips_are_cropped_and_filled_as_by_pillow(height: int, aspect: float, anchor: Anchor, seed: int) -> None:
    """For every shape and anchor, both ways of fitting give exactly what pasting with Pillow gives."""
    width = max(1, int(height * aspect))
    frames = random_frames(2, height, width, seed)
    expected = np.stack([np.asarray(make_strip(Image.fromarray(frame), anchor)).transpose(2, 0, 1) for frame in frames])
    for fit in (fit_on_device, fit_with_pillow):
        strips = fit(height, width, anchor, torch.device("cpu"))(torch.from_numpy(frames))
        assert strips.shape == (2, 3, 48, 480)
        assert (strips.numpy() == expected).all(), fit.__name__


@pytest.mark.parametrize(
    ("width", "anchor", "expected"),
    [
        (481, Anchor.CENTER, [0, 1]),  # one column too many: it goes on the right
        (483, Anchor.CENTER, [1, 2]),
        (600, Anchor.LEFT, [0, 1]),
        (600, Anchor.RIGHT, [120, 121]),
        (480, Anchor.CENTER, [0, 1]),
    ],
)
def test_wide_images_lose_the_far_side(width: int, anchor: Anchor, expected: list[int]) -> None:
    """A wide strip is cropped at the side opposite its anchor."""
    columns = strip_columns(width, anchor)
    assert columns[:2].tolist() == expected
    assert (np.diff(columns) == 1).all()


def test_narrow_images_are_filled_with_mirrored_copies_all_alike() -> None:
    """A narrow strip is filled with mirrored copies: to the right of an image of 200, one and the left part of another, and vice versa."""
    mirrored = list(range(199, -1, -1))
    assert strip_columns(200, Anchor.LEFT).tolist() == list(range(200)) + mirrored + mirrored[:80]
    assert strip_columns(200, Anchor.RIGHT).tolist() == mirrored[-80:] + mirrored + list(range(200))
    assert strip_columns(200, Anchor.CENTER).tolist() == mirrored[-140:] + list(range(200)) + mirrored[:140]


def test_spatial_features_are_fractions_of_the_frame() -> None:
    """Features are the anchor as one-hot, the crop's centre and its width."""
    assert spatial_features(LAYOUT) == pytest.approx([0, 1, 0, 300 / 1920, 950 / 1080, 400 / 1920])
    assert spatial_features(replace(LAYOUT, anchor=Anchor.RIGHT))[:3] == [0, 0, 1]


@pytest.mark.parametrize("side", ["frame_width", "frame_height"])
def test_an_unknown_frame_has_default_features(side: str) -> None:
    """A layout without a frame width or height gets the default features of training."""
    assert spatial_features(replace(LAYOUT, **{side: 0}))[3:] == [0.5, 0.9, 0.5]
