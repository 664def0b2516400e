"""The packages of ``make setup-film`` are enough for every command about one film."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.cli.processes import TIMEOUT_SECONDS, clean_environment

CHECKOUT = Path(__file__).parents[2]

SHORT = CHECKOUT / "tests" / "data" / "conformance" / "tile-right"
SMALL = "this is the small installation for films; run make setup to install everything"
VIDEO_ID = "00000000-0000-4000-8000-000000000001"

COMMANDS = """
import sys
from cli.main import main

def run(*arguments):
    sys.argv = ["extents", *arguments]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, (arguments, ended.code)

run("find", {film!r}, "--crop", "0,190,320,240", "--srt")
run("crop", {film!r})
run("encode", {film!r}, "--crop", "0,190,320,240", "--out", "video")
run("predict", "video", "-o", "run.db")
run("show", "run.db")
run("report", "run.db", "--frames", "video", "--png", "timeline.png", "-o", "report.html")
"""


def locked(name: str) -> dict[str, set[str]]:
    """Return the versions of each package in a lock file: several if they depend on Python's version."""
    versions: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ]+)", (CHECKOUT / "requirements" / name).read_text(), re.MULTILINE):
        versions.setdefault(canonicalize_name(package), set()).add(version)
    return versions


def absent() -> list[str]:
    """List modules that can be imported here and belong to no package of ``requirements/film.lock``."""
    installed = {"extents", *locked("film.lock")}
    owners = metadata.packages_distributions()
    return sorted(name for name, packages in owners.items() if not installed.intersection(map(canonicalize_name, packages)))


def run_without(blocked: list[str], program: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program in a process in which these modules cannot be imported, as if they were not installed."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys\nsys.modules.update(dict.fromkeys({blocked!r}))\n{program}"],
        cwd=folder,
        env={**clean_environment(), "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )


def test_the_commands_for_one_film_need_no_more(film: Path, tmp_path: Path) -> None:
    """From film to report, no command imports a package that the small installation lacks."""
    blocked = absent()
    assert {"torch", "safetensors", "faust", "aiokafka", "aioboto3", "supabase", "httpx", "stamina", "psycopg"} <= set(blocked)
    done = run_without(blocked, COMMANDS.format(film=str(film)), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "timeline.png").exists()


def test_another_checkpoint_names_the_installation_with_torch(tmp_path: Path) -> None:
    """Another checkpoint needs torch, and the error says how to install it."""
    (tmp_path / "weights.pt").touch()
    arguments = ["extents", "predict", str(SHORT), "--checkpoint", "weights.pt", "-o", "run.db"]
    done = run_without(absent(), f"import sys\nsys.argv = {arguments!r}\nfrom cli.main import main\nmain()\n", tmp_path)
    assert done.returncode == 1
    assert f"error: safetensors is not installed, and this needs it: {SMALL}" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_needs_more_says_how_to_get_it(film: Path, tmp_path: Path) -> None:
    """A command that needs more fails without a traceback, and names the command that installs everything."""
    arguments = ["extents", "encode", str(film), "--crop", "0,190,320,240", "--tenant-id", VIDEO_ID, "--video-id", VIDEO_ID]
    done = run_without(absent(), f"import sys\nsys.argv = {arguments!r}\nfrom cli.main import main\nmain()\n", tmp_path)
    assert done.returncode == 1
    assert SMALL in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("installation", ["film.lock", "dev.lock"])
def test_reading_is_added_to_either_installation(installation: str) -> None:
    """The extra `text` brings no part of the service, and changes the version of no package that is installed already."""
    base, added = locked(installation), locked("text.lock")
    assert "rapidocr" in added
    assert not {"torch", "faust-streaming", "aiokafka", "supabase"} & set(added)
    shared = set(base) & set(added)
    assert {"numpy", "pillow"} <= shared
    assert {name: base[name] for name in shared} == {name: added[name] for name in shared}
