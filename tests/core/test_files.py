"""Files are written whole or not at all."""

import os
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


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    """A path such as ``/dev/stdout`` is not replaced by a file, even if the user has the right to."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        write_whole(pipe, b"through the pipe")
        assert read.result() == b"through the pipe"
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """The file that the link names is replaced, where it is."""
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere" / "file")
    write_whole(link, b"content")
    assert link.is_symlink()
    assert (tmp_path / "elsewhere" / "file").read_bytes() == b"content"


@pytest.mark.parametrize("where", ["file/run.db", "folder"])
def test_an_unwritable_path_is_named(tmp_path: Path, where: str) -> None:
    """An unwritable path gives an error that names it, and leaves no partial file."""
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    with pytest.raises(PermanentError, match=f"{where}: cannot be written"):
        write_whole(tmp_path / where, b"data")
    assert {file.name for file in tmp_path.iterdir()} == {"file", "folder"}
