"""The built-in model: a small siamese network over caption strips, each resized to a fixed canvas.

Every frame is encoded once. A pair's logits come from both frames' features and their difference; the first layer of the
comparison is linear, so its two frame parts are computed once per frame and only added for each pair and direction.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from core.errors import CheckpointError
from core.types import LABELS, Layout, Precision
from inference.engine.batching import checked, in_batches
from inference.engine.compilation import compiled
from inference.engine.device import compute_reproducibly
from inference.engine.entries import check_entries
from inference.engine.predictor import Checkpoint, EngineOptions, Frames, Probabilities

Network = Callable[[torch.Tensor], torch.Tensor]

NAME: Final = "siamese_strip"
CANVAS: Final = (32, 512)  # height, width; strips are resized to it regardless of their shape
_LARGEST_SIZE: Final = 1024
_AUTOCAST: Final = {Precision.BFLOAT16: torch.bfloat16, Precision.FLOAT16: torch.float16}


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """How large the network is. A checkpoint's ``config`` has these fields; one without them has the defaults.

    Attributes:
        features: channels of a frame's features.
        details, refinements: residual convolutions over a frame, at a quarter and at an eighth of the canvas.
        contrasts: channels of a pair's features.
        comparisons: residual convolutions over a pair.
        gathered: channels before the mean and the maximum over the strip.
    """

    features: int = 64
    details: int = 1
    refinements: int = 3
    contrasts: int = 80
    comparisons: int = 3
    gathered: int = 96

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> "NetworkSize":
        """Read a checkpoint's ``config``, ignoring other fields.

        Raises:
            CheckpointError: a size is not a number from 1 to 1024.
        """
        sizes = {field.name: config[field.name] for field in fields(cls) if field.name in config}
        for name, size in sizes.items():
            if type(size) is not int or not 1 <= size <= _LARGEST_SIZE:
                raise CheckpointError(f"config: {name} is {size!r}, expected an integer from 1 to {_LARGEST_SIZE}")
        return cls(**sizes)

    def config(self) -> dict[str, int]:
        """Return the part of a checkpoint's ``config`` that ``parse`` reads."""
        return asdict(self)


class Block(nn.Module):
    """A 3×3 convolution, a batch norm (during training; then merged into the convolution), and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int | tuple[int, int] = 1, *, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.norm(self.conv(x)))


class SiameseStrip(nn.Module):
    """Encodes canvases to features, and compares two frames' features to logits.

    Shapes are given for the default size.

    Args:
        norm: with batch norms, for training; without them the network is stored and run.
    """

    def __init__(self, size: NetworkSize | None = None, *, norm: bool = False) -> None:
        super().__init__()
        self.size = size = size or NetworkSize()
        self.shrink = nn.Sequential(
            Block(3, 24, 2, norm=norm),
            Block(24, 32, 2, norm=norm),
            Block(32, 64, norm=norm),
        )
        self.detail = Block(64, 64, norm=norm)
        self.more_details = nn.ModuleList(Block(64, 64, norm=norm) for _ in range(size.details - 1))
        self.halve = Block(64, size.features, 2, norm=norm)
        self.refine = nn.ModuleList(Block(size.features, size.features, norm=norm) for _ in range(size.refinements))
        self.first = nn.Conv2d(size.features, size.contrasts, 3, (1, 2), 1)
        self.second = nn.Conv2d(size.features, size.contrasts, 3, (1, 2), 1, bias=False)
        self.distance = nn.Conv2d(size.features, size.contrasts, 3, (1, 2), 1, bias=False)
        self.compare = nn.ModuleList(Block(size.contrasts, size.contrasts, norm=norm) for _ in range(size.comparisons))
        self.gather = Block(size.contrasts, size.gathered, 2, norm=norm)
        self.classify = nn.Linear(2 * size.gathered, len(LABELS))

    def encode(self, canvases: torch.Tensor) -> torch.Tensor:
        """(n, 3, 32, 512) in -1..1 to features (n, 64, 4, 64)."""
        x: torch.Tensor = self.shrink(canvases)
        for block in (self.detail, *self.more_details):
            x = x + block(x)
        x = self.halve(x)
        for block in self.refine:
            x = x + block(x)
        return x

    def contrast(self, features: torch.Tensor, strides: Sequence[int] = (1,)) -> torch.Tensor:
        """Compare the frames of each pair (t, t + stride) in one or several runs of n frames, as ``pair`` orders them."""
        return self.compare_pairs(self.pair(features, strides))

    def pair(self, features: torch.Tensor, strides: Sequence[int] = (1,)) -> torch.Tensor:
        """Combine the frames of each pair, the comparison's linear part.

        Args:
            features: (runs, n, 64, 4, 64).

        Returns:
            (2 · runs · Σ (n − stride), 80, 4, 32): for each stride, all forward pairs run by run, then all backward ones.
        """
        runs = features.shape[:2]
        first, second = (part(features.flatten(0, 1)).unflatten(0, runs) for part in (self.first, self.second))
        pairs = []
        for stride in strides:
            apart = self.distance((features[:, :-stride] - features[:, stride:]).abs().flatten(0, 1))
            pairs += [(first[:, :-stride] + second[:, stride:]).flatten(0, 1) + apart]
            pairs += [(first[:, stride:] + second[:, :-stride]).flatten(0, 1) + apart]
        return torch.cat(pairs)

    def compare_pairs(self, pairs: torch.Tensor) -> torch.Tensor:
        """Compare pairs that ``pair`` combined; the shape stays."""
        x = functional.relu(pairs)
        for block in self.compare:
            x = x + block(x)
        return x

    def decide(self, contrasts: torch.Tensor) -> torch.Tensor:
        """(n, 80, 4, 32) to logits (n, 5), in the order of core.types.Label."""
        x = self.gather(contrasts)
        logits: torch.Tensor = self.classify(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        return logits

    def forward(self, canvases: torch.Tensor) -> torch.Tensor:
        """n consecutive canvases to probabilities (2, n − 1, 5): forward, backward."""
        logits = self.decide(self.contrast(self.encode(canvases)[None]))
        return logits.float().softmax(1).reshape(2, len(canvases) - 1, len(LABELS))


def to_canvas(strips: torch.Tensor) -> torch.Tensor:
    """Strips (n, height, width, 3) uint8 to canvases (n, 3, 32, 512) float32 in -1..1, channels last in memory."""
    pictures = strips.permute(0, 3, 1, 2).float()
    return functional.interpolate(pictures, CANVAS, mode="bilinear", antialias=True) / 127.5 - 1


class SiameseStripPredictor:
    """Runs the network on one device. All batches have the same shape: the last one is padded with copies of its last frame."""

    def __init__(self, network: SiameseStrip, options: EngineOptions) -> None:
        self.options = options
        self._device = torch.device(options.device)
        compute_reproducibly(self._device)
        self._plain: Network = network.to(self._device).to(memory_format=torch.channels_last).eval()
        self._compiled = self._plain
        if options.compile:
            forward = compiled(self._plain, self._device, self._run_blank)
            self.options = replace(options, compile=forward is not None)
            self._compiled = self._plain if forward is None else forward
        if self._device.type == "cuda" and not self.options.compile:
            self._run_blank(self._plain)

    @property
    def strip_size(self) -> tuple[int, int]:
        return CANVAS

    def open_video(self, layout: Layout) -> None:
        """Do nothing, because the model uses only the strips."""

    def predict(self, video: None, frames: Frames) -> Probabilities:
        """Classify each pair of consecutive frames: (n − 1, 2, 5).

        Raises:
            TransientError: not enough device memory for a single pair.
            PermanentError: a probability is not finite, since the network overflows in this precision.
        """

        def predict(first: int, stop: int, options: EngineOptions) -> torch.Tensor:
            strips = torch.from_numpy(np.ascontiguousarray(frames[first : stop + 1])).to(self._device)
            network = self._compiled if options.compile else self._plain
            return self._probabilities(network, strips, options.batch_size)[:, : stop - first].transpose(0, 1)

        results, self.options = in_batches(len(frames) - 1, self.options, predict)
        probabilities = torch.cat(results) if results else torch.empty((0, 2, len(LABELS)))
        return checked(probabilities.cpu().numpy(), self.options)

    @torch.inference_mode()
    def _probabilities(self, network: Network, strips: torch.Tensor, batch_size: int) -> torch.Tensor:
        canvases = to_canvas(strips)
        missing = batch_size + 1 - len(canvases)
        if missing:
            canvases = torch.cat([canvases, canvases[-1:].expand(missing, -1, -1, -1)])
        canvases = canvases.contiguous(memory_format=torch.channels_last)
        dtype = _AUTOCAST.get(self.options.precision)
        with torch.autocast(self._device.type, dtype, enabled=dtype is not None):
            return network(canvases)

    def _run_blank(self, network: Network) -> None:
        """Run a batch of black strips, so that compilation and the device's lazy initialisation do not delay the first span."""
        strips = torch.zeros((1, *CANVAS, 3), dtype=torch.uint8, device=self._device)
        self._probabilities(network, strips, self.options.batch_size).cpu()


class SiameseStripArchitecture:
    """Builds predictors from checkpoints of the built-in model."""

    name = NAME

    def load(self, checkpoint: Checkpoint, options: EngineOptions) -> SiameseStripPredictor:
        try:
            with torch.device("meta"):
                network = SiameseStrip(NetworkSize.parse(checkpoint.config))
            check_entries(network.state_dict(), checkpoint.state)
        except CheckpointError as error:
            raise CheckpointError(f"{checkpoint.path}: not a {NAME} checkpoint: {error}") from error
        network.load_state_dict({name: tensor.float() for name, tensor in checkpoint.state.items()}, assign=True)
        return SiameseStripPredictor(network, options)


ARCHITECTURE: Final = SiameseStripArchitecture()
