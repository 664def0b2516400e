"""Everything that the Dockerfiles build from exists, and is enough for what they start."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
import torch
from packaging.specifiers import SpecifierSet

from inference.engine.device import SMALLEST_DRIVERS
from tests.patience import HANGS_AFTER

DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")

ONLY_BASE_PACKAGES = """
import importlib.abc, importlib.metadata, re, sys
from packaging.requirements import Requirement

def needed(name, extras, seen):
    key = re.sub(r"[-_.]+", "-", name).lower()
    if (key, extras) in seen:
        return seen
    seen.add((key, extras))
    for text in importlib.metadata.requires(name) or []:
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            needed(requirement.name, tuple(sorted(requirement.extras)), seen)
    return seen

installed = {name for name, _ in needed("extents", (), set())}
absent = {
    module
    for module, distributions in importlib.metadata.packages_distributions().items()
    if not installed & {re.sub(r"[-_.]+", "-", one).lower() for one in distributions}
}

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"the image has no {name}", name=name)

for module in [module for module in sys.modules if module.partition(".")[0] in absent]:
    del sys.modules[module]
sys.meta_path.insert(0, Absent())
assert {"torch", "av", "psycopg", "pytest"} <= absent, absent
assert not {"faust", "aioboto3", "supabase", "click"} & absent
import importlib
for module in sys.argv[1:]:
    importlib.import_module(module)
"""
"""Imports modules as if only the dependencies without any extra were installed."""


def instructions(text: str) -> list[tuple[str, str]]:
    """List the instructions of a Dockerfile, each with its arguments on one line."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def copied(dockerfile: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """List what a Dockerfile copies from the checkout, as pairs of source and target."""
    copies = [rest.split() for name, rest in dockerfile if name == "COPY" and not rest.startswith("--from")]
    return [(source, target) for *sources, target in copies for source in sources]


@pytest.fixture(params=DOCKERFILES)
def dockerfile(request, root) -> list[tuple[str, str]]:
    return instructions((root / request.param).read_text())


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Apply .dockerignore as Docker does: the last pattern that matches a path, or a folder above it, decides."""
    ignored = False
    parts = path.split("/")
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    for pattern in patterns:
        wanted = pattern.removeprefix("!").removeprefix("**/")
        names = [*above, *parts] if "**/" in pattern else above
        if any(fnmatch.fnmatch(name, wanted) for name in names):
            ignored = not pattern.startswith("!")
    return ignored


def test_copied_paths_are_there_and_sent(dockerfile, root):
    """Every COPY from the checkout names a path that exists and that .dockerignore lets through."""
    patterns = [line for line in (root / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    sources = [source for source, _ in copied(dockerfile)]
    assert len(sources) >= 8
    for source in sources:
        assert (root / source).exists(), source
        assert not is_ignored(source, patterns), source
    assert is_ignored(".env", patterns)
    assert is_ignored(".git/config", patterns)
    assert is_ignored("streams/__pycache__/app.pyc", patterns)


def test_all_packages_are_copied(dockerfile, root):
    """The image holds every package of the wheel."""
    project = tomllib.loads((root / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {package for package in packages if ("COPY", f"{package} {package}") in dockerfile} == set(packages)


def test_bases_are_pinned_pythons_of_the_project(dockerfile, root):
    """Every stage is based on a Python that the project supports, with its full version and without a host."""
    supported = SpecifierSet(tomllib.loads((root / "pyproject.toml").read_text())["project"]["requires-python"])
    bases = [rest.split()[0] for name, rest in dockerfile if name == "FROM"]
    assert len(bases) == 2
    for base in bases:
        match = re.fullmatch(r"python:(\d+\.\d+\.\d+)-slim-[a-z]+", base)
        assert match is not None, base
        assert match[1] in supported


def test_images_start_what_there_is_without_root(dockerfile, parses):
    """The default command is one that ``extents`` accepts, started without a shell by a user other than root."""
    last = dict(dockerfile)
    assert json.loads(last["ENTRYPOINT"]) == ["extents"]
    parses(json.loads(last["CMD"]))
    assert int(last["USER"]) > 0


def test_packages_are_those_of_the_lock(dockerfile):
    """Every installation uses the lock, by version or by hash, or our own wheel."""
    steps = [step.strip() for name, rest in dockerfile if name == "RUN" for step in rest.split("&&")]
    installs = [step for step in steps if re.match(r"(uv )?pip install", step)]
    assert len(installs) == 4
    for step in installs:
        by_lock = "--constraints requirements/dev.lock" in step or "--require-hashes" in step
        assert by_lock or step == "uv pip install --no-deps /dist/*.whl", step


def test_extras_are_added_by_a_build_argument(dockerfile, root):
    """EXTRAS=tracing installs that extra beside the others, and without it nothing is added."""
    assert ("ARG", 'EXTRAS=""') in dockerfile
    install = next(rest for name, rest in dockerfile if name == "RUN" and "$EXTRAS" in rest).split("&&")[0]
    by_default, wanted = (
        subprocess.run(["sh", "-c", f"echo {install}"], env={"EXTRAS": extras}, check=True, capture_output=True, text=True).stdout.split()
        for extras in ("", "tracing")
    )
    assert wanted == [*by_default, "--extra", "tracing"]
    assert "tracing" in tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_coordinator_runs_without_torch():
    """The coordinator, the gateway and the operators' commands can be imported with only the base dependencies."""
    modules = [
        "cli.main",
        "cli.service.worker",
        "cli.service.topics",
        "cli.service.doctor",
        "cli.operations.requests.dead_letters",
        "streams.apps.coordinator",
        "devstack.gateway",
    ]
    done = subprocess.run(
        [sys.executable, "-c", ONLY_BASE_PACKAGES, *modules],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS_AFTER,
        env={**os.environ},
    )
    assert done.returncode == 0, done.stderr


def test_wheel_is_built_from_what_is_copied(dockerfile, root, tmp_path):
    """An image's wheel has the built-in model, the migrations and every module, and no tests."""
    for source, target in copied(dockerfile):
        place = tmp_path / target / (source if target.endswith("/") else "")
        place.parent.mkdir(parents=True, exist_ok=True)
        if (root / source).is_dir():
            shutil.copytree(root / source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(root / source, place)
    build = "import hatchling.build; print(hatchling.build.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=HANGS_AFTER)
    assert done.returncode == 0, done.stderr
    names = set(zipfile.ZipFile(tmp_path / done.stdout.split()[-1]).namelist())
    packages = ("core", "inference", "storage", "pages", "streams", "cli", "devstack")
    modules = {str(path.relative_to(root)) for package in packages for path in (root / package).rglob("*.py")}
    assets = {str(path.relative_to(root)) for path in (root / "pages" / "assets").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    migrations = {f"storage/migration_files/{path.name}" for path in (root / "deploy" / "supabase" / "migrations").iterdir()}
    assert modules | assets | migrations <= names
    assert {"inference/models/weights/builtin.safetensors", "inference/models/weights/builtin.onnx"} <= names
    assert not any(name.startswith(("tests/", "docs/", "deploy/", "training/", "tools/")) for name in names)


def test_what_the_images_decide(root):
    """Images serve /healthz outside their container; the GPU image requires a GPU and names the driver version that it needs."""
    environment = {name: " ".join(rest for kind, rest in instructions((root / name).read_text()) if kind == "ENV") for name in DOCKERFILES}
    assert all("EXTENTS_HTTP_HOST=0.0.0.0" in text for text in environment.values())
    assert "EXTENTS_DEVICE=cuda" in environment["Dockerfile.gpu"]
    assert "EXTENTS_DEVICE" not in environment["Dockerfile"]
    assert SMALLEST_DRIVERS[torch.version.cuda.partition(".")[0]] in (root / "Dockerfile.gpu").read_text()
    assert SMALLEST_DRIVERS[torch.version.cuda.partition(".")[0]] in (root / "docs" / "deployment.md").read_text()
