"""The interface of a reader, and the readers that are installed."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final, Protocol

from core.errors import ConfigurationError
from inference.arrays import Frames

GROUP: Final = "extents.readers"
"""Entry points of this group are callables that take a language (or None) and return a ``Reader``."""

DEFAULT: Final = "rapidocr"


@dataclass(frozen=True, slots=True)
class Reading:
    """The text of a still: lines from top to bottom, separated by line feeds; empty if nothing can be read."""

    text: str
    confidence: float


class Reader(Protocol):
    """Owned by one thread."""

    def read(self, still: Frames) -> Reading:
        """Read an RGB picture (height, width, 3)."""


def open_reader(language: str | None = None, name: str = DEFAULT) -> Reader:
    """Load a reader. Takes seconds, and downloads nothing.

    Raises:
        ConfigurationError: no reader has this name, it cannot be loaded, or something that it needs is not installed.
    """
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        raise ConfigurationError(f"there is no reader {name!r}; installed are: {', '.join(sorted(points)) or 'none'}")
    try:
        make: Callable[[str | None], Reader] = points[name].load()
    except Exception as error:  # importing another distribution's module may raise anything
        raise ConfigurationError(
            f"the reader {name!r} ({points[name].value}) cannot be loaded: {type(error).__name__}: {error}; repair or remove its package"
        ) from error
    return make(language)
