"""The networks that can be run, by the ``architecture_name`` of their checkpoints.

To add one here, put a module (or package) into this folder that defines ``ARCHITECTURE``, an
``inference.engine.predictor.Architecture``. To add one from another distribution, name such an object in an entry point
of the group ``extents.architectures``:

    [project.entry-points."extents.architectures"]
    my_network = "my_package.my_network:ARCHITECTURE"

An entry point that cannot be used is left out and named in the log; checkpoints of all other architectures still load.
"""

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Final

import structlog

from core.errors import CheckpointError, ConfigurationError
from inference.engine.predictor import Architecture

ENTRY_POINTS: Final = "extents.architectures"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Installed:
    """The architectures by name, and for each unusable entry point the reason."""

    known: Mapping[str, Architecture]
    unusable: tuple[str, ...]


@functools.cache
def architectures() -> Installed:
    """Find the architectures of this package, and those of other distributions in the order of their entry points' names.

    A name belongs to the first architecture that has it, and this package comes before all others.
    """
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    known: dict[str, Architecture] = {module.ARCHITECTURE.name: module.ARCHITECTURE for module in modules}
    unusable: list[str] = []
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: (point.name, point.value)):
        try:
            architecture = _load(point)
            if architecture.name in known:
                raise ConfigurationError(f"an architecture named {architecture.name!r} exists already; remove one of the packages")
        except ConfigurationError as error:
            origin = f"entry point {point.name} = {point.value} of {point.dist.name if point.dist else 'an unknown distribution'}"
            unusable.append(f"{origin}: {error}")
            log.warning("architecture.unusable", entry_point=origin, reason=str(error))
        else:
            known[architecture.name] = architecture
    return Installed(dict(sorted(known.items())), tuple(unusable))


def find_architecture(name: str) -> Architecture:
    """Return the architecture of that name.

    Raises:
        CheckpointError: the name is unknown; the message lists the known ones, and the entry points that cannot be used.
    """
    installed = architectures()
    if name not in installed.known:
        raise CheckpointError(
            "; ".join([f"architecture {name!r} is not known; there are: {', '.join(installed.known)}", *installed.unusable])
        )
    return installed.known[name]


def _load(point: EntryPoint) -> Architecture:
    """
    Raises:
        ConfigurationError: it cannot be loaded, or is not an architecture.
    """
    try:
        architecture: Architecture = point.load()
    except Exception as error:  # importing another distribution's module may raise anything
        raise ConfigurationError(f"cannot be loaded: {type(error).__name__}: {error}; repair or remove the package") from error
    if not isinstance(getattr(architecture, "name", None), str) or not callable(getattr(architecture, "load", None)):
        raise ConfigurationError(f"is a {type(architecture).__name__}; expected an object with `name` and `load`")
    return architecture
