"""Grows a trained network: a larger one that computes nearly the same, to train on with more weights.

As in Net2Net (Chen, Goodfellow and Shlens, 2015, https://arxiv.org/abs/1511.05641), but new channels begin at random and are not read yet,
instead of being copies; new residual convolutions begin with weak outputs.
"""

from typing import Final

import torch

from inference.architectures.siamese_strip import NetworkSize, SiameseStrip

_WEAK: Final = 0.05  # of a new layer's usual weights, where the network already is


@torch.no_grad()
def grow(network: SiameseStrip, size: NetworkSize) -> SiameseStrip:
    """Return a network of ``size``, without batch norms, that computes nearly the same.

    Raises:
        ValueError: ``size`` is smaller than the network in some respect.
    """
    smaller = [name for name, value in size.config().items() if value < getattr(network.size, name)]
    if smaller:
        raise ValueError(f"{', '.join(smaller)}: smaller than the trained network's")
    grown = SiameseStrip(size)
    trained = network.state_dict()
    for name, entry in grown.state_dict().items():
        if name not in trained:  # of a residual convolution
            entry.mul_(_WEAK)
            continue
        old = trained[name]
        if name == "classify.weight":  # the mean's inputs, then the maximum's
            entry.zero_()
            for place, part in enumerate(old.chunk(2, 1)):
                first = place * size.gathered
                entry[:, first : first + part.shape[1]] = part
        elif old.dim() > 1:
            entry[: old.shape[0], old.shape[1] :] = 0
            entry[: old.shape[0], : old.shape[1]] = old
        else:
            entry[: old.shape[0]] = old
    return grown
