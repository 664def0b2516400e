"""The networks that can be run, by the ``architecture_name`` of their checkpoints.

To add one here, put a module (or package) into this folder that defines ``ARCHITECTURE``, an
``inference.engine.predictor.Architecture``. To add one from another distribution, name such an object in an entry point
of the group ``extents.architectures``:

    [project.entry-points."extents.architectures"]
    my_network = "my_package.my_network:ARCHITECTURE"
"""

import functools
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Final

from core.errors import CheckpointError, ConfigurationError
from inference.engine.predictor import Architecture

ENTRY_POINTS: Final = "extents.architectures"


@functools.cache
def architectures() -> Mapping[str, Architecture]:
    """Every architecture by name: those of this package, and those that other distributions provide.

    Raises:
        ConfigurationError: an entry point cannot be loaded, is no architecture, or uses a name that is taken.
    """
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    known: dict[str, Architecture] = {module.ARCHITECTURE.name: module.ARCHITECTURE for module in modules}
    for origin, architecture in _provided():
        if architecture.name in known:
            raise ConfigurationError(f"{origin}: an architecture named {architecture.name!r} exists already; remove one of the packages")
        known[architecture.name] = architecture
    return dict(sorted(known.items()))


def find_architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        CheckpointError: there is none; the message lists the known ones.
    """
    known = architectures()
    if name not in known:
        raise CheckpointError(f"architecture {name!r} is not known; there are: {', '.join(known) or 'none'}")
    return known[name]


def _provided() -> Iterator[tuple[str, Architecture]]:
    """Architectures of other distributions, each with the entry point that names it."""
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        origin = f"entry point {point.name} = {point.value} of {point.dist.name if point.dist else 'an unknown distribution'}"
        try:
            architecture = point.load()
        except Exception as error:  # importing another distribution's module may raise anything
            raise ConfigurationError(f"{origin} cannot be loaded: {type(error).__name__}: {error}; repair or remove the package") from error
        if not isinstance(getattr(architecture, "name", None), str) or not callable(getattr(architecture, "load", None)):
            raise ConfigurationError(f"{origin} is a {type(architecture).__name__}; expected an object with `name` and `load`")
        yield origin, architecture
