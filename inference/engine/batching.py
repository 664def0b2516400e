"""Splits a span's pairs into batches that fit into the device's memory."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import structlog
import torch
from torch import Tensor

from core.errors import PermanentError, TransientError
from inference.engine.memory import is_shortage
from inference.engine.predictor import EngineOptions, Probabilities

log = structlog.get_logger()


def in_batches(
    pairs: int, options: EngineOptions, predict: Callable[[int, int, EngineOptions], Tensor]
) -> tuple[list[Tensor], EngineOptions]:
    """Call ``predict(first, stop, options)`` for consecutive batches of pairs, halving the batch size if memory runs out.

    A network is compiled for one batch size. With a smaller one it runs uncompiled, because compiling takes a minute.

    Returns:
        The batches' results in order, and the options with the batch size that fitted.

    Raises:
        TransientError: not enough memory for a single pair.
    """
    results: list[Tensor] = []
    first = 0
    while first < pairs:
        stop, shortage = min(first + options.batch_size, pairs), ""
        try:
            results.append(predict(first, stop, options))
            first = stop
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            shortage = str(error)
        if shortage:  # outside the handler, where the error's traceback would keep the batch's tensors alive
            options = _halved(options, shortage)
    return results, options


def checked(probabilities: Probabilities, options: EngineOptions) -> Probabilities:
    """Return the probabilities if all are finite.

    Raises:
        PermanentError: some are not: the network overflows in this precision.
    """
    if not np.isfinite(probabilities).all():
        raise PermanentError(f"the network's output is not finite in {options.precision}; run it in float32")
    return probabilities


def _halved(options: EngineOptions, shortage: str) -> EngineOptions:
    if options.batch_size == 1:
        raise TransientError(f"{options.device}: out of memory with one pair a batch: {shortage}")
    smaller = options.batch_size // 2
    log.warning("engine.out_of_memory", batch_size=options.batch_size, next_batch_size=smaller, device=options.device)
    if torch.device(options.device).type == "cuda":
        torch.cuda.empty_cache()
    return replace(options, batch_size=smaller, compile=False)
