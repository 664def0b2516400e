"""Files appear whole or not at all."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import PermanentError
from core.files import write_whole


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    """Missing folders are made, a file that is there is replaced, and nothing else stays beside it."""
    path = tmp_path / "new" / "folder" / "file"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_threads_that_write_one_file_do_not_mix(tmp_path: Path) -> None:
    """Of many that write the same file at once each writes all of its own, and the last one's stays."""
    contents = [bytes([number]) * 200_000 for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_whole(tmp_path / "file", content), contents))
    assert (tmp_path / "file").read_bytes() in contents
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("where", ["file/run.db", "folder"])
def test_an_unwritable_path_is_named(tmp_path: Path, where: str) -> None:
    """Below a file, or where a folder is: an error with the path, and no partial file."""
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    with pytest.raises(PermanentError, match=f"{where}: cannot be written"):
        write_whole(tmp_path / where, b"data")
    assert {file.name for file in tmp_path.iterdir()} == {"file", "folder"}
