"""Pictures for training: they are downloaded once, and used only as pinned."""

from hashlib import sha256
from pathlib import Path

import pytest

from training import pictures

FILES = {"usr/share/hill.jpg": b"a hill", "usr/share/sea.jpg": b"the sea"}


@pytest.fixture
def programs(tmp_path, monkeypatch) -> Path:
    """A folder that is all of PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def pins(tmp_path, monkeypatch) -> Path:
    """A list of pins of the files of a package named scenes."""
    path = tmp_path / "SHA256SUMS"
    path.write_text("".join(f"{sha256(data).hexdigest()}  scenes/{name}\n" for name, data in FILES.items()))
    monkeypatch.setattr(pictures, "PINS", path)
    return path


def test_pinned_files_are_not_downloaded_again(tmp_path, pins, programs):
    """Files that are there as pinned need no program."""
    (tmp_path / "pictures" / "scenes").mkdir(parents=True)
    for name, data in FILES.items():
        (tmp_path / "pictures" / "scenes" / Path(name).name).write_bytes(data)
    assert pictures.install_pictures(tmp_path / "pictures") == tmp_path / "pictures"
    assert [Path(photo).name for photo in pictures.installed_photos(tmp_path / "pictures")] == ["hill.jpg", "sea.jpg"]


def test_without_debian_it_says_so(tmp_path, pins, programs):
    """Elsewhere, the message says where the pictures come from."""
    with pytest.raises(RuntimeError, match="apt-get is missing; pictures for training come from packages of Debian"):
        pictures.install_pictures(tmp_path / "pictures")


@pytest.mark.parametrize("changed", [None, b"another hill"], ids=["missing", "changed"])
def test_another_file_than_the_pinned_one_is_refused(tmp_path, pins, programs, changed):
    """A package whose files have changed is refused by name."""
    unpacks = _unpacks({**FILES, "usr/share/hill.jpg": changed})
    for name, script in {"apt-get": "/bin/touch scenes.deb", "dpkg-deb": unpacks}.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    with pytest.raises(RuntimeError, match=r"Debian's package scenes no longer has the pinned usr/share/hill.jpg; .* in .*SHA256SUMS"):
        pictures.install_pictures(tmp_path / "pictures")


def _unpacks(files: dict[str, bytes | None]) -> str:
    kept = {name: data.decode() for name, data in files.items() if data is not None}
    return "\n".join(["/bin/mkdir -p usr/share", *(f"/bin/echo -n '{data}' > {name}" for name, data in kept.items())])


def test_every_shot_is_pinned():
    """The shots are among the pinned files, which are all distinct."""
    names = [line.split("  ", 1)[1] for line in pictures.PINS.read_text().splitlines()]
    installed = {f"{name.split('/')[0]}/{Path(name).name}" for name in names}
    assert len(installed) == len(names)
    shots = {str(Path(shot.file).relative_to("/pictures")) for shot in pictures.installed_shots(Path("/pictures"))}
    assert shots <= installed
    assert len(pictures.installed_photos(Path("/pictures"))) == len(names) - len(shots)
