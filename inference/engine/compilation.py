"""Compiling a network for one device, with a way on where that fails."""

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast

import structlog
import torch

log = structlog.get_logger()

Network = TypeVar("Network", bound=Callable[..., Any])


def compiled(network: Network, device: torch.device, run: Callable[[Network], object]) -> Network | None:
    """The network compiled for one shape, once ``run`` has called it; None where there is no compiler, or it fails, which is logged.

    On a CPU the weights become constants: in oneDNN's own order, with sums and ReLUs inside its convolutions. That is not asked
    for by ``torch.compile``'s options: the tracer, which does not see those, would hand the weights over as inputs, and nothing
    would be frozen.
    """
    from torch._inductor import config  # here, for it takes seconds: a worker that compiles nothing starts without it

    result = cast(Network, torch.compile(_with_code_of_its_own(network), dynamic=False, fullgraph=True))
    try:
        with config.patch(freezing=device.type == "cpu"):
            run(result)
    except Exception as error:  # what a missing or failing compiler raises is the backend's own affair
        log.warning("engine.not_compiled", reason=str(error).strip().splitlines()[0])
        return None
    return result


def _with_code_of_its_own(network: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls the network, and is compiled in its place.

    The compiler keeps its graphs with the code that they were made from. For code that networks share it keeps those of networks that
    are gone, too, and gives up at the ninth: a worker that has loaded eight models would run all later ones uncompiled.
    """

    def call(*arguments: torch.Tensor) -> Any:
        return network(*arguments)

    return FunctionType(call.__code__.replace(), call.__globals__, call.__name__, None, call.__closure__)
