"""Programs from packages of Debian, which ``make test`` installs if it can."""

import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import NEEDS_DEBIAN

DIST = Path(__file__).parents[1] / ".stack" / "dist"
AXE = DIST / "axe" / "node_modules" / "axe-core" / "axe.min.js"


def program(name: str) -> Path:
    """Return a program's path. If it is missing, the test fails if this machine could install it, and is skipped otherwise."""
    program = next((path for path in (DIST / "prometheus" / "usr" / "bin" / name, Path(shutil.which(name) or "")) if path.is_file()), None)
    if program is None:
        could = shutil.which("apt-get") is not None and os.geteuid() == 0
        (pytest.fail if could else pytest.skip)(f"{NEEDS_DEBIAN}: {name}; make test installs it where it can")
        raise AssertionError("unreachable")
    return program
