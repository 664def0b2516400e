"""From consecutive strips to probabilities of their pairs, with a stem shared between pairs, or stacked as in training."""

from typing import Protocol

import torch
from torch import Tensor, nn

from core.types import LABELS
from inference.architectures.channel_fusion_lora_spatial.merge import SplitStem, merge_layers
from inference.architectures.channel_fusion_lora_spatial.network import Network

_MEAN = (0.485, 0.456, 0.406)  # ImageNet's channels, on which the backbone was pretrained
_STD = (0.229, 0.224, 0.225)


class Classifier(Protocol):
    """The interface of both classifiers; every tensor is on the network's device."""

    def ocr_part(self, image: Tensor) -> Tensor:
        """Compute the contribution of the OCR strip (1, 3, 48, 480) uint8 to every pair of its video."""

    def __call__(self, strips: Tensor, ocr_part: Tensor, spatial: Tensor) -> Tensor:
        """Strips (p + 1, 3, 48, 480) uint8 and features (1, 6) to probabilities (p, 2, 5) float32: forward, backward."""


class _PairClassifier(nn.Module):
    """Everything but the stem: the rest of the backbone in ``dtype``, and the head in float32, which is as fast and more exact."""

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.trunk = network.backbone[2:].to(dtype)
        self.spatial_proj = network.spatial_proj
        self.fusion_mlp = network.fusion_mlp
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1))
        self.mean: Tensor
        self.std: Tensor

    def normalise(self, strips: Tensor) -> Tensor:
        return ((strips.float() / 255 - self.mean) / self.std).to(self.dtype)

    def classify(self, stem: Tensor, spatial: Tensor) -> Tensor:
        """The stem's output for the forward, then the backward pairs (2p, 64, 24, 240), to probabilities (p, 2, 5)."""
        features = self.trunk(stem).mean(dim=(2, 3), dtype=torch.float32)  # (2p, 2048)
        layout = self.spatial_proj(spatial).expand(len(features), -1)  # (2p, 128)
        logits: Tensor = self.fusion_mlp(torch.cat([features, layout], dim=1))
        return logits.softmax(dim=1).view(2, -1, len(LABELS)).transpose(0, 1)


class SharedStemClassifier(_PairClassifier):
    """Runs the stem once per frame instead of four times, and once per video for the OCR image."""

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        super().__init__(network, dtype)
        self.stem = SplitStem(network.channel_fusion, merge_layers(network.backbone[0], network.backbone[1])).to(dtype)

    def ocr_part(self, image: Tensor) -> Tensor:
        part: Tensor = self.stem.ocr(self.normalise(image))
        return part

    def forward(self, strips: Tensor, ocr_part: Tensor, spatial: Tensor) -> Tensor:
        return self.classify(self.stem(ocr_part, self.normalise(strips)), spatial)


class StackedClassifier(_PairClassifier):
    """Stacks each pair and direction to nine channels and runs the whole network on it, as in training."""

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        super().__init__(network, dtype)
        self.stem = nn.Sequential(network.channel_fusion, *network.backbone[:2]).to(dtype)

    def ocr_part(self, image: Tensor) -> Tensor:
        return self.normalise(image)

    def forward(self, strips: Tensor, ocr_part: Tensor, spatial: Tensor) -> Tensor:
        frames = self.normalise(strips)
        first, second = torch.cat([frames[:-1], frames[1:]]), torch.cat([frames[1:], frames[:-1]])
        stacked = torch.cat([ocr_part.expand(len(first), -1, -1, -1), first, second], dim=1)  # (2p, 9, 48, 480)
        return self.classify(self.stem(stacked), spatial)
