"""Where compiled networks are kept."""

import os
from pathlib import Path

import pytest

from inference.compile_cache import keep_compiled

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def test_the_folder_is_handed_to_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` stands for the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "")  # restored at the end, whatever it was
    monkeypatch.delenv(VARIABLE)
    keep_compiled(Path("~/kept"))
    assert os.environ[VARIABLE] == str(tmp_path / "kept")


def test_the_compilers_own_variable_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has set PyTorch's variable keeps that folder."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "own"))
    keep_compiled(tmp_path / "kept")
    assert os.environ[VARIABLE] == str(tmp_path / "own")
