"""A clone works wherever it is: the stack starts in closed folders, under long paths with spaces, and from other folders."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import ConfigurationError
from devstack.paths import CHECKOUT, make_folder, postgres_programs
from tests.patience import HANGS_AFTER

_PACKAGES = ("core", "inference", "storage", "streams", "pages", "cli", "devstack", "tools", "deploy")
_NOT_NEEDED = ("torch", "nvidia*", "triton*", "sympy*", "skvideo*", "skimage*", "scipy*", "mypy*", "ruff*", "__pycache__")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout with what setup installs, at a path of 150 characters with spaces, in a folder of mode 700."""
    closed = tmp_path / "closed to others"
    closed.mkdir(mode=0o700)
    folder = closed / ("x" * max(1, 149 - len(str(closed))))
    for package in _PACKAGES:
        shutil.copytree(CHECKOUT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    copy = {"symlinks": True, "copy_function": _link, "ignore": shutil.ignore_patterns(*_NOT_NEEDED)}
    shutil.copytree(CHECKOUT / ".venv", folder / ".venv", **copy)
    shutil.copytree(CHECKOUT / ".stack" / "dist", folder / ".stack" / "dist", **copy)
    return folder


def _link(source: str, target: str) -> None:
    """Link the file if both paths are on one file system, because a copy would take gigabytes."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture
def other_file_system(clone: Path) -> Iterator[Path]:
    """A folder on another file system than the clone's."""
    memory = Path("/dev/shm")
    assert memory.stat().st_dev != clone.stat().st_dev
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_the_stack_comes_up_in_a_closed_folder(clone: Path, tmp_path: Path, other_file_system: Path) -> None:
    """The stack of a closed folder starts without HOME and under umask 077, and again with a HOME on another file system.

    The command is run in a folder that has another ``devstack``.
    """
    other = tmp_path / "other"
    (other / "devstack").mkdir(parents=True)
    (other / "devstack" / "__init__.py").write_text("raise SystemExit('the devstack of another checkout')")
    env = {name: value for name, value in os.environ.items() if name not in ("HOME", "VIRTUAL_ENV", "PYTHONSAFEPATH")}
    env["PYTHONPATH"] = str(clone)  # not installed into the copy, whose installed packages point to the original checkout

    def extents(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [clone / ".venv" / "bin" / "python", "-P", "-m", "cli", *arguments]
        return subprocess.run(command, cwd=other, env=env, umask=0o077, capture_output=True, text=True, check=False, timeout=HANGS_AFTER)

    try:
        started = extents("dev", "up")
        assert started.returncode == 0, started.stderr
        assert str(clone / ".stack" / "dev") in started.stdout.replace("\n", "")
        url = next(word for word in started.stdout.split() if word.startswith("postgresql://"))
        psql = [postgres_programs() / "psql", "--no-psqlrc", "--tuples-only", "--no-align", url, "--command", "select current_user"]
        answer = subprocess.run(psql, capture_output=True, text=True, check=False, timeout=HANGS_AFTER, stdin=subprocess.DEVNULL)
        assert (answer.returncode, answer.stdout.strip()) == (0, "postgres"), answer.stderr
        assert extents("dev", "status").returncode == 0
        again = extents("dev", "down")
        assert again.returncode == 0, again.stderr
        env |= {name: str(other_file_system) for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME")}
        assert extents("dev", "up").returncode == 0  # on the existing data
    finally:
        extents("dev", "down", "--purge")
    assert not (clone / ".stack" / "dev").exists()


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    """The error for a folder that cannot be written to says what is wrong and what to do."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match=r"nothing can be written to .*/file/dev \(Not a directory\): .*use a clone"):
        make_folder(tmp_path / "file" / "dev")
