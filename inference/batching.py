"""A span's pairs batch by batch, with as small a batch as the device has memory for."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import structlog
import torch
from torch import Tensor

from core.errors import PermanentError, TransientError
from inference.predictor import EngineOptions, Probabilities

log = structlog.get_logger()


def in_batches(pairs: int, options: EngineOptions, predict: Callable[[int, int, int], Tensor]) -> tuple[list[Tensor], EngineOptions]:
    """Call ``predict(first, stop, batch_size)`` for consecutive batches of pairs, and halve the batch whenever memory is short.

    Returns:
        The batches' results in their order, and the options with the batch size that has fitted.

    Raises:
        TransientError: there is not enough memory for a single pair.
    """
    results: list[Tensor] = []
    first = 0
    while first < pairs:
        stop, shortage = min(first + options.batch_size, pairs), ""
        try:
            results.append(predict(first, stop, options.batch_size))
            first = stop
        except torch.OutOfMemoryError as error:
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
    return replace(options, batch_size=smaller)
