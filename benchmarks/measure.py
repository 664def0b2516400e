"""Measures rates side by side: contenders take turns, so that other load on the machine affects all of them alike.

Needs only PyTorch.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch.nn import functional

ROUNDS: Final = 5

MACS_PER_PAIR: Final = 3.98e9
"""Multiply-adds of the production network, both directions with a shared stem, as PyTorch's FlopCounterMode counts them."""


def take_turns(contenders: Mapping[str, Callable[[], int]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Run every contender once a round; a contender returns how many items it processed. Return the rates by name and round.

    Progress goes to standard error.
    """
    for name, run in contenders.items():
        print(f"  warming up {name}", file=sys.stderr, flush=True)
        run()  # once unmeasured: caches, lazily started threads
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        for name, run in contenders.items():
            started = time.perf_counter()
            done = run()
            rates[name].append(done / (time.perf_counter() - started))
        print(
            f"  round {number} of {rounds}: {', '.join(f'{name} {measured[-1]:.3g}/s' for name, measured in rates.items())}",
            file=sys.stderr,
        )
    return rates


def median_ratio(rates: list[float], others: list[float]) -> float:
    """Return the median of each round's own ratio, since a disturbance in a round affects both of its rates."""
    return statistics.median(rate / other for rate, other in zip(rates, others, strict=True))


def matrix_product(device: str, dtype: torch.dtype, side: int, seconds: float = 0.3) -> Callable[[], int]:
    """Return a contender whose rate is multiply-adds per second of square matrix products: the hardware's practical peak.

    On a CPU PyTorch computes such a product by MKL, and as a 1×1 convolution by oneDNN; which is faster depends on the
    processor, and the faster one is the limit.
    """
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    products: list[Callable[[], torch.Tensor]] = [lambda: torch.mm(a, b)]
    if torch.device(device).type == "cpu":
        pixels, kernels = a.view(1, 1, side, side).permute(0, 3, 1, 2), b.view(side, side, 1, 1)
        products.append(lambda: functional.conv2d(pixels, kernels))
    product = min(products, key=_seconds)

    def run() -> int:
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            for _ in range(4):
                product()
                done += side**3
            synchronize(device)
        return done

    return run


@torch.inference_mode()
def _seconds(product: Callable[[], torch.Tensor]) -> float:
    """Return the seconds of one product: the best of a few tries."""
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        product()
        taken.append(time.perf_counter() - started)
    return min(taken)


def synchronize(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
