"""Runs the command as a process, for tests of its start, its end, or its isolation from the tests' own modules."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from core.settings import Settings, variable

TIMEOUT_SECONDS = 840  # less than a test's own limit


def clean_environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without the service's settings, plus these variables."""
    ours = {variable(section, field) for section in Settings.SECTIONS for field in section.model_fields}
    return {**{name: value for name, value in os.environ.items() if name not in ours}, **(env or {})}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "cli", *map(str, arguments)]


def run_extents(*arguments: str | Path, folder: Path, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run ``extents`` to its end in a folder, with only these settings."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=clean_environment(env),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
