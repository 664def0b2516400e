"""A span's pairs batch by batch, with as small a batch as the device has memory for."""

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
    """Call ``predict(first, stop, options)`` for consecutive batches of pairs, and halve the batch whenever memory is short.

    A network is compiled for one batch size: with any other it runs uncompiled, since compiling takes a minute.

    Returns:
        The batches' results in their order, and the options as they have become: with the batch size that has fitted.

    Raises:
        TransientError: there is not enough memory for a single pair.
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
        if shortage:  # not in the handler, where the error's traceback still holds the batch's tensors
            options = _halved(options, shortage)
    return results, options


def checked(probabilities: Probabilities, options: EngineOptions) -> Probabilities:
    """The same probabilities.

    Raises:
        PermanentError: one is not finite: the network overflows in this precision.
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
