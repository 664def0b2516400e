"""Where the data files of an installed package lie: footage, photographs, fonts."""

from importlib.util import find_spec
from pathlib import Path

from core.errors import ConfigurationError


def installed_folder(package: str, distribution: str, extra: str = "extents[stack]") -> Path:
    """The folder of a package, which is not imported: only its data is wanted.

    Args:
        distribution: what it is installed as.
        extra: what brings it.

    Raises:
        ConfigurationError: it is not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(f"{distribution} is not installed, whose files are wanted: install {extra}")
    return Path(spec.submodule_search_locations[0])
