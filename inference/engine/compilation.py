"""Compiles a network for one device, falling back to eager execution."""

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast

import structlog
import torch

log = structlog.get_logger()

Network = TypeVar("Network", bound=Callable[..., Any])


def compiled(network: Network, device: torch.device, run: Callable[[Network], object]) -> Network | None:
    """Compile the network for one input shape by calling it through ``run``. Returns None, and logs why, if that fails.

    On a CPU the weights become constants, in oneDNN's own memory order, with sums and ReLUs fused into the convolutions.
    This is set by a config patch, not by ``torch.compile``'s options: the tracer ignores those options, would treat the
    weights as inputs, and nothing would be frozen.
    """
    from torch._inductor import config  # imported here, because it takes seconds that a worker without compilation need not spend

    result = cast(Network, torch.compile(_with_own_code(network), dynamic=False, fullgraph=True))
    try:
        with config.patch(freezing=device.type == "cpu"):
            run(result)
    except Exception as error:  # each backend raises its own errors for a missing or failing compiler
        log.warning("engine.not_compiled", reason=str(error).strip().splitlines()[0])
        return None
    return result


def _with_own_code(network: Callable[..., Any]) -> Callable[..., Any]:
    """A function with its own code object that calls the network.

    The compiler stores its graphs with the code object they were compiled from. For a code object that networks share it also
    keeps the graphs of networks that are gone, and gives up at the ninth: a worker that has loaded eight models would run
    all later ones uncompiled.
    """

    def call(*arguments: torch.Tensor) -> Any:
        return network(*arguments)

    return FunctionType(call.__code__.replace(), call.__globals__, call.__name__, None, call.__closure__)
