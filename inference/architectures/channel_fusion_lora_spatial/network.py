"""The network as trained and stored: module names match the entries of a checkpoint.

A ResNet-50 (stride in the 3×3 convolution, as torchvision's) in which every convolution has a LoRA side path, applied to
the three images of a pair, reduced to three channels. An MLP combines its features with the layout's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from core.errors import CheckpointError
from core.types import LABELS
from inference.engine.entries import check_entries

IMAGES: Final = 3  # OCR visualisation, first frame, second frame: the order of the stacked channels
SPATIAL_FEATURES: Final = 6
_STEM_CHANNELS: Final = 64
_STAGES: Final = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width of the 3×3 convolutions, blocks, first stride
_EXPANSION: Final = 4
_DEFAULT_LORA_RANK: Final = 16
_DEFAULT_LORA_ALPHA: Final = 16.0
_TRANSFORM_STRATEGIES: Final = (
    "mirror_tile",
    "crop",
    "adaptive",
)  # named by checkpoints; strips are processed the same way for all of them


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The part of a checkpoint's ``config`` that determines the network's shape."""

    lora_rank: int
    lora_alpha: float

    @property
    def lora_scale(self) -> float:
        return self.lora_alpha / self.lora_rank

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> "NetworkConfig":
        """Read ``config``, ignoring what only concerns training.

        Raises:
            CheckpointError: a value that this network does not support.
        """
        strategy = config.get("transform_strategy")
        if strategy not in _TRANSFORM_STRATEGIES:
            raise CheckpointError(f"config: transform_strategy is {strategy!r}, expected one of {', '.join(_TRANSFORM_STRATEGIES)}")
        model = config.get("model_config", {})
        if not isinstance(model, Mapping):
            raise CheckpointError(f"config: model_config is a {type(model).__name__}, expected a dict")
        rank, alpha = model.get("lora_rank", _DEFAULT_LORA_RANK), model.get("lora_alpha", _DEFAULT_LORA_ALPHA)
        classes = model.get("num_classes", len(LABELS))
        if not isinstance(rank, int) or rank < 1:
            raise CheckpointError(f"config: lora_rank is {rank!r}, expected a positive integer")
        if not isinstance(alpha, int | float):
            raise CheckpointError(f"config: lora_alpha is {alpha!r}, expected a number")
        if classes != len(LABELS):
            raise CheckpointError(f"config: num_classes is {classes!r}, expected {len(LABELS)}: {', '.join(LABELS)}")
        return cls(rank, float(alpha))


class LoraConv2d(nn.Module):
    """A convolution without bias, plus a side path: 1×1 to ``lora_rank`` channels and 1×1 back, with the same stride."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, config: NetworkConfig) -> None:
        super().__init__()
        self.original_layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.lora_A = nn.Conv2d(inputs, config.lora_rank, 1, bias=False)
        self.lora_B = nn.Conv2d(config.lora_rank, outputs, 1, stride, bias=False)
        self.scale = config.lora_scale

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.original_layer(x) + self.scale * self.lora_B(self.lora_A(x))
        return out


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, config: NetworkConfig) -> None:
        super().__init__()
        outputs = _EXPANSION * width
        self.conv1: nn.Module = LoraConv2d(inputs, width, 1, 1, config)
        self.bn1: nn.Module = nn.BatchNorm2d(width)
        self.conv2: nn.Module = LoraConv2d(width, width, 3, stride, config)
        self.bn2: nn.Module = nn.BatchNorm2d(width)
        self.conv3: nn.Module = LoraConv2d(width, outputs, 1, 1, config)
        self.bn3: nn.Module = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = (
            nn.Sequential(LoraConv2d(inputs, outputs, 1, stride, config), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(self.conv1(x)).relu_()
        out = self.bn2(self.conv2(out)).relu_()
        result: Tensor = self.bn3(self.conv3(out)).add_(self.downsample(x)).relu_()
        return result


class Network(nn.Module):
    """The whole, unmerged network; ``classifier`` builds what runs from its parts."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.channel_fusion = nn.Conv2d(3 * IMAGES, 3, 1, bias=False)
        stages: list[nn.Module] = []
        inputs = _STEM_CHANNELS
        for width, blocks, stride in _STAGES:
            stage = [Bottleneck(inputs if i == 0 else _EXPANSION * width, width, stride if i == 0 else 1, config) for i in range(blocks)]
            stages.append(nn.Sequential(*stage))
            inputs = _EXPANSION * width
        self.backbone = nn.Sequential(
            LoraConv2d(3, _STEM_CHANNELS, 7, 2, config),
            nn.BatchNorm2d(_STEM_CHANNELS),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, padding=1),
            *stages,
        )
        self.spatial_proj = nn.Sequential(nn.Linear(SPATIAL_FEATURES, 128), nn.ReLU(), nn.Dropout(), nn.Linear(128, 128))
        self.fusion_mlp = nn.Sequential(
            nn.Linear(inputs + 128, 1024),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(1024, 512),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(512, len(LABELS)),
        )


def build_network(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Network:
    """Build the network with a checkpoint's weights, in float32, for inference.

    Raises:
        CheckpointError: the config does not fit, or an entry is missing, unexpected, of another shape or not finite; the message names it.
    """
    with torch.device("meta"):  # only shapes: the weights come from the checkpoint
        network = Network(NetworkConfig.parse(config))
    expected = network.state_dict()
    check_entries(expected, state)
    network.load_state_dict({name: state[name].to(expected[name].dtype) for name in expected}, assign=True)
    return network.eval().requires_grad_(False)
