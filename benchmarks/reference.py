"""The production network in its plainest form: pair by pair, as trained, with strips made by Pillow. The engine is compared with it.

It shares no code with ``inference``: neither the network nor the strips.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from core.types import Anchor, Layout
from inference.engine.predictor import Frames, Probabilities

_SIZE: Final = (480, 48)  # width, height: Pillow's order
_MEAN: Final = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
_STD: Final = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
_BLOCKS: Final = {4: 3, 5: 4, 6: 6, 7: 3}  # child of the backbone: its bottlenecks


def make_strip(image: Image.Image, anchor: Anchor) -> Image.Image:
    """Resize to a height of 48. Crop at the anchor's side, or paste there and fill the rest with mirrored copies."""
    wide, high = _SIZE
    image = image.convert("RGB").resize((max(1, int(high * image.width / image.height)), high), Image.Resampling.LANCZOS)
    spare = wide - image.width
    if spare < 0:
        left = {Anchor.LEFT: 0, Anchor.CENTER: -spare // 2, Anchor.RIGHT: -spare}[anchor]
        return image.crop((left, 0, left + wide, high))
    left = {Anchor.LEFT: 0, Anchor.CENTER: spare // 2, Anchor.RIGHT: spare}[anchor]
    strip, mirrored = Image.new("RGB", _SIZE), ImageOps.mirror(image)
    strip.paste(image, (left, 0))
    for x in range(left + image.width, wide, image.width):
        strip.paste(mirrored, (x, 0))  # Pillow cuts off what goes beyond the edge
    for x in range(left - image.width, -image.width, -image.width):
        strip.paste(mirrored, (x, 0))
    return strip


class Reference:
    """The network of one checkpoint's config and state, float32 on the CPU."""

    def __init__(self, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
        model = config["model_config"]
        self._state = state
        self._lora_scale = model.get("lora_alpha", 16) / model.get("lora_rank", 16)

    @torch.inference_mode()
    def predict(self, layout: Layout, frames: Frames, pairs: Sequence[int] | None = None) -> Probabilities:
        """Predict the pairs that start at the given frames (default: all): (pairs, 2, 5)."""
        ocr = self._normalise(Image.open(io.BytesIO(layout.ocr_image)), layout.anchor)
        spatial = _spatial(layout)
        result = []
        for i in range(len(frames) - 1) if pairs is None else pairs:
            first, second = (self._normalise(Image.fromarray(frame), layout.anchor) for frame in frames[i : i + 2])
            result.append(np.stack([self._classify(ocr, *order, spatial) for order in ((first, second), (second, first))]))
        return np.stack(result)

    def _classify(self, ocr: Tensor, first: Tensor, second: Tensor, spatial: Tensor) -> Probabilities:
        x = torch.cat([ocr, first, second])[None]  # (1, 9, 48, 480)
        x = functional.conv2d(x, self._state["channel_fusion.weight"])
        x = functional.relu(self._norm(self._conv(x, "backbone.0", stride=2), "backbone.1"))
        x = functional.max_pool2d(x, 3, 2, padding=1)
        for stage, blocks in _BLOCKS.items():
            for block in range(blocks):
                x = self._bottleneck(x, f"backbone.{stage}.{block}", stride=2 if block == 0 and stage > 4 else 1)
        x = torch.cat([x.mean((2, 3)), self._mlp(spatial, "spatial_proj", (0, 3))], dim=1)
        probabilities: Probabilities = self._mlp(x, "fusion_mlp", (0, 3, 6)).softmax(1)[0].numpy()
        return probabilities

    def _bottleneck(self, x: Tensor, name: str, stride: int) -> Tensor:
        out = functional.relu(self._norm(self._conv(x, f"{name}.conv1"), f"{name}.bn1"))
        out = functional.relu(self._norm(self._conv(out, f"{name}.conv2", stride), f"{name}.bn2"))
        out = self._norm(self._conv(out, f"{name}.conv3"), f"{name}.bn3")
        if f"{name}.downsample.1.weight" in self._state:
            x = self._norm(self._conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
        return functional.relu(out + x)

    def _conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self._state[f"{name}.original_layer.weight"]
        side = functional.conv2d(x, self._state[f"{name}.lora_A.weight"])
        side = functional.conv2d(side, self._state[f"{name}.lora_B.weight"], stride=stride)
        out: Tensor = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2) + self._lora_scale * side
        return out

    def _norm(self, x: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (self._state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, mean, variance, weight, bias)

    def _mlp(self, x: Tensor, name: str, layers: Sequence[int]) -> Tensor:
        for layer in layers:
            x = functional.linear(x, self._state[f"{name}.{layer}.weight"], self._state[f"{name}.{layer}.bias"])
            if layer != layers[-1]:
                x = functional.relu(x)
        return x

    @staticmethod
    def _normalise(image: Image.Image, anchor: Anchor) -> Tensor:
        pixels = torch.from_numpy(np.array(make_strip(image, anchor))).permute(2, 0, 1)
        normalised: Tensor = (pixels.float() / 255 - _MEAN) / _STD
        return normalised


def _spatial(layout: Layout) -> Tensor:
    width, height = layout.frame_width, layout.frame_height
    place = [0.5, 0.9, 0.5]
    if width > 0 and height > 0:
        place = [
            (layout.crop_left + layout.crop_right) / (2 * width),
            (layout.crop_top + layout.crop_bottom) / (2 * height),
            (layout.crop_right - layout.crop_left) / width,
        ]
    return torch.tensor([[float(layout.anchor == side) for side in ("left", "center", "right")] + place])
