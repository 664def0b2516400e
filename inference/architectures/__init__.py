"""The networks that can be run, by the ``architecture_name`` of their checkpoints.

To add one, put a module (or package) here that defines ``ARCHITECTURE``, an ``inference.engine.predictor.Architecture``.
"""

import functools
import importlib
import pkgutil
from collections.abc import Mapping

from core.errors import CheckpointError
from inference.engine.predictor import Architecture


@functools.cache
def architectures() -> Mapping[str, Architecture]:
    """Every architecture by name, found by importing this package's modules."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    found = [module.ARCHITECTURE for module in modules]
    return {architecture.name: architecture for architecture in sorted(found, key=lambda one: one.name)}


def find_architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        CheckpointError: there is none; the message lists those there are.
    """
    known = architectures()
    if name not in known:
        raise CheckpointError(f"architecture {name!r} is not known; there are: {', '.join(known) or 'none'}")
    return known[name]
