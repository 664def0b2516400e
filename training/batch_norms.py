"""Merges batch norms into convolutions for the stored network, and restores them for further training."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from inference.architectures.siamese_strip import Block, SiameseStrip


def merge_batch_norms(network: SiameseStrip) -> SiameseStrip:
    """Return a network without batch norms that computes the same."""
    merged = SiameseStrip(network.size)
    source = copy.deepcopy(network).eval()
    for block in _blocks(source):
        if isinstance(block.norm, nn.BatchNorm2d):
            block.conv, block.norm = fuse_conv_bn_eval(block.conv, block.norm), nn.Identity()
    merged.load_state_dict(source.state_dict())
    return merged


@torch.no_grad()
def restore_batch_norms(merged: SiameseStrip, runs: torch.Tensor) -> SiameseStrip:
    """Return a network with batch norms that computes the same, to continue training from stored weights.

    Each norm takes the mean and deviation of its convolution's outputs on ``runs``, and restores them.

    Args:
        runs: canvases like those in training, (runs, frames, 3, 32, 512).
    """
    network = SiameseStrip(merged.size, norm=True)
    network.load_state_dict(merged.state_dict(), strict=False)  # all but the norms
    measured = copy.deepcopy(merged)
    for before, after in zip(_blocks(measured), _blocks(network), strict=True):
        before.conv.register_forward_hook(_adopt(after.norm))
    features = measured.encode(runs.flatten(0, 1))
    measured.decide(measured.contrast(features.view(*runs.shape[:2], *features.shape[1:])))
    return network


def _adopt(norm: Any) -> Any:
    def hook(_conv: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        variance, mean = torch.var_mean(output, (0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean)

    return hook


def _blocks(network: SiameseStrip) -> Iterator[Block]:
    return (module for module in network.modules() if isinstance(module, Block))
