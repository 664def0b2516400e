"""Files are written whole or not at all."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import PermanentError
from core.files import write_whole


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    """Missing folders are created, an existing file is replaced, and no other file is left beside it."""
    path = tmp_path / "new" / "folder" / "file"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_threads_that_write_one_file_do_not_mix(tmp_path: Path) -> None:
    """If several threads write the same file at once, it holds the whole content of one of them."""
    contents = [bytes([number]) * 200_000 for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_whole(tmp_path / "file", content), contents))
    assert (tmp_path / "file").read_bytes() in contents
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("where", ["file/run.db", "folder"])
def test_an_unwritable_path_is_named(tmp_path: Path, where: str) -> None:
    """An unwritable path gives an error that names it, and leaves no partial file."""
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    with pytest.raises(PermanentError, match=f"{where}: cannot be written"):
        write_whole(tmp_path / where, b"data")
    assert {file.name for file in tmp_path.iterdir()} == {"file", "folder"}
