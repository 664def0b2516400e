"""Merges side paths and batch norms into the preceding convolutions: fewer layers, the same function.

Computed in float64, so that results differ only by the float32 network's own rounding (1e-6 in a probability).
"""

import torch
from torch import Tensor, nn

from inference.architectures.channel_fusion_lora_spatial.network import IMAGES, Bottleneck, LoraConv2d, Network


def merge_network_(network: Network) -> None:
    """Replace every LoRA convolution and its batch norm by one convolution with a bias, in place."""
    network.backbone[0], network.backbone[1] = merge_layers(network.backbone[0], network.backbone[1]), nn.Identity()
    for block in network.modules():
        if isinstance(block, Bottleneck):
            block.conv1, block.bn1 = merge_layers(block.conv1, block.bn1), nn.Identity()
            block.conv2, block.bn2 = merge_layers(block.conv2, block.bn2), nn.Identity()
            block.conv3, block.bn3 = merge_layers(block.conv3, block.bn3), nn.Identity()
            if isinstance(block.downsample, nn.Sequential):
                block.downsample = merge_layers(block.downsample[0], block.downsample[1])


def merge_layers(layer: nn.Module, norm: nn.Module) -> nn.Conv2d:
    """Return one convolution that computes ``norm(layer(x))``; a layer that is already merged is returned unchanged.

    The side path is two 1×1 convolutions, the second with the layer's stride: for each output it reads the pixel under
    the kernel's centre tap, so its product is added to that tap. The norm then scales and shifts each output channel.
    """
    if isinstance(layer, nn.Conv2d):
        return layer
    if not isinstance(layer, LoraConv2d) or not isinstance(norm, nn.BatchNorm2d):
        raise TypeError(f"{type(layer).__name__} and {type(norm).__name__}; only LoraConv2d and BatchNorm2d can be merged")
    original = layer.original_layer
    weight = original.weight.double()  # (outputs, inputs, kernel, kernel)
    centre = weight.shape[-1] // 2
    weight[:, :, centre, centre] += layer.scale * layer.lora_B.weight.double()[..., 0, 0] @ layer.lora_A.weight.double()[..., 0, 0]
    scale, shift = _affine(norm)
    merged = nn.Conv2d(
        original.in_channels,
        original.out_channels,
        original.kernel_size,  # type: ignore[arg-type]  # declared as tuple[int, ...]; of a 2-d convolution it has two
        original.stride,  # type: ignore[arg-type]  # likewise
        original.padding,  # type: ignore[arg-type]  # likewise
        device=weight.device,
    )
    merged.weight = nn.Parameter((weight * scale[:, None, None, None]).float(), requires_grad=False)
    merged.bias = nn.Parameter(shift.float(), requires_grad=False)
    return merged


class SplitStem(nn.Module):
    """The stem's convolution split by input image: a pair's output is the sum of three separate outputs.

    Channel fusion and stem are both linear up to the first ReLU (zero padding included, since the fusion has no bias),
    so the OCR image's part is shared by a whole video, and a frame's two parts by all of its pairs and directions.
    """

    def __init__(self, fusion: nn.Conv2d, stem: nn.Conv2d) -> None:
        """``stem`` is merged and therefore has a bias, which goes to the OCR part."""
        super().__init__()
        weight = torch.einsum("omyx,mi->oiyx", stem.weight.double(), fusion.weight.double()[..., 0, 0]).float()
        ocr, first, second = weight.chunk(IMAGES, dim=1)  # each (64, 3, 7, 7)
        self.ocr = _like(stem, ocr, stem.bias)
        self.frame = _like(stem, torch.cat([first, second]), None)  # (128, 3, 7, 7): as first of a pair, as second

    def forward(self, ocr_part: Tensor, frames: Tensor) -> Tensor:
        """OCR part (1, 64, h, w) and p + 1 normalised frames (p + 1, 3, 2h, 2w) to (2p, 64, h, w): forward pairs, then backward."""
        as_first, as_second = self.frame(frames).chunk(2, dim=1)
        forward = as_first[:-1] + as_second[1:]
        backward = as_first[1:] + as_second[:-1]
        return torch.cat([forward, backward]).add_(ocr_part)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """A batch norm's scale and shift per channel at inference, float64."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise TypeError("a batch norm without running statistics cannot be merged")
    scale = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
    return scale, norm.bias.double() - mean.double() * scale


def _like(stem: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 7, 2, padding=3, bias=bias is not None, device=stem.weight.device)
    conv.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    if bias is not None:
        conv.bias = nn.Parameter(bias, requires_grad=False)
    return conv
