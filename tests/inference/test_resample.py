"""The resize by matrix products gives Pillow's result exactly."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from inference.engine.predictor import Frames
from inference.engine.resample import Resampler
from tests.inference.conformance import CASES, load_case
from tests.inference.webm import random_frames


def pillow_resize(frame: Frames, height: int, width: int) -> Frames:
    """Resize row by row, then column by column: the order of Pillow before 13, and of later versions except for high images."""
    across = Image.fromarray(frame).resize((width, frame.shape[0]), Image.Resampling.LANCZOS)
    return np.asarray(across.resize((width, height), Image.Resampling.LANCZOS))


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 240), width=st.integers(1, 700), seed=st.integers(0, 1000), contrast=st.booleans())
@example(height=100, width=1440, seed=0, contrast=True)
@example(height=48, width=480, seed=0, contrast=False)
def test_every_size_is_resized_as_by_pillow(height: int, width: int, seed: int, contrast: bool) -> None:
    """Any size resized to a height of 48 gives Pillow's pixels exactly, even for pure black and white."""
    frame = random_frames(1, height, width, seed)[0] + np.random.default_rng(seed).integers(0, 2, (height, width, 3), np.uint8)
    if contrast:
        frame = np.where(frame > 127, 255, 0).astype(np.uint8)
    resized = max(1, 48 * width // height)
    result = Resampler((height, width), (48, resized), (0, resized), "cpu")(torch.from_numpy(frame[None]))
    assert (result[0].permute(1, 2, 0).numpy() == pillow_resize(frame, 48, resized)).all()


@settings(max_examples=10, deadline=None)
@given(first=st.integers(0, 688), count=st.integers(1, 480))
def test_only_the_columns_wanted_are_computed(first: int, count: int) -> None:
    """A range of columns equals the same part of the whole."""
    frames = torch.from_numpy(random_frames(2, 28, 402))
    last = min(689, first + count)
    whole = Resampler((28, 402), (48, 689), (0, 689), "cpu")(frames)
    assert torch.equal(Resampler((28, 402), (48, 689), (first, last), "cpu")(frames), whole[..., first:last])


@pytest.mark.parametrize("case", CASES)
def test_real_strips_are_resized_as_by_pillow(case: str) -> None:
    """Frames of stored videos are resized exactly as by Pillow."""
    frames = load_case(case).spans[0][::7]
    height, width = frames.shape[1:3]
    resized = 48 * width // height
    result = Resampler((height, width), (48, resized), (0, resized), "cpu")(torch.from_numpy(frames))
    assert (result.permute(0, 2, 3, 1).numpy() == [pillow_resize(frame, 48, resized) for frame in frames]).all()
