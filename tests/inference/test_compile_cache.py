"""Compiled networks are kept in a folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.engine.compile_cache import keep_compiled
from tests.inference.compiler import needs_compiler
from tests.patience import HANGS_AFTER

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def test_the_folder_is_handed_to_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler gets the folder, with ``~`` as the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "")  # restored at the end, whatever it was
    monkeypatch.delenv(VARIABLE)
    keep_compiled(Path("~/kept"))
    assert os.environ[VARIABLE] == str(tmp_path / "kept")


@needs_compiler
def test_a_second_start_compiles_nothing(tmp_path: Path) -> None:
    """A second process reuses every kernel that the first compiled."""
    program = (
        "from pathlib import Path\n"
        "from inference.models.builtin import builtin_checkpoint_path\n"
        "from inference.engine.compile_cache import keep_compiled\n"
        "from inference.models.loading import load_predictor\n"
        "from inference.engine.predictor import EngineOptions\n"
        f"keep_compiled(Path({str(tmp_path)!r}))\n"
        "assert load_predictor(builtin_checkpoint_path(), EngineOptions(compile=True, batch_size=2)).options.compile\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}

    def kernels() -> dict[Path, int]:
        subprocess.run([sys.executable, "-c", program], check=True, timeout=HANGS_AFTER, env=environment)
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.so")}

    first = kernels()
    assert first
    assert kernels() == first


def test_the_compilers_own_variable_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If PyTorch's own variable is set, its folder is kept."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "own"))
    keep_compiled(tmp_path / "kept")
    assert os.environ[VARIABLE] == str(tmp_path / "own")
