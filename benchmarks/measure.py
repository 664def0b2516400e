"""Rates measured side by side: contenders take turns, so that what else the machine does meets all of them alike.

Needs PyTorch alone.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

import torch

ROUNDS: Final = 5

MACS_PER_PAIR: Final = 3.98e9
"""Multiply-adds of the production network, both directions with a shared stem, as PyTorch's FlopCounterMode counts them."""


def take_turns(contenders: Mapping[str, Callable[[], int]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Each round runs every contender once; a contender returns how many it has done. Gives the rates by name and round.

    What it is doing goes to standard error.
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
        print(f"  round {number} of {rounds}: {', '.join(f'{name} {found[-1]:.3g}/s' for name, found in rates.items())}", file=sys.stderr)
    return rates


def median_ratio(rates: list[float], others: list[float]) -> float:
    """Median of the rounds' own ratios: a disturbed round disturbs both its rates."""
    return statistics.median(rate / other for rate, other in zip(rates, others, strict=True))


def matrix_product(device: str, dtype: torch.dtype, side: int, seconds: float = 0.3) -> Callable[[], int]:
    """A contender whose rate is multiply-adds per second of square matrix products: what the hardware can do at best."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))

    def run() -> int:
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            for _ in range(4):
                torch.mm(a, b)
                done += side**3
            synchronize(device)
        return done

    return run


def synchronize(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
