"""Opens the bytes of SQLite files in memory: nothing is written to disk, and nothing in a foreign file is trusted."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from core.errors import CorruptInputError


@contextmanager
def open_database(data: bytes, name: str) -> Iterator[sqlite3.Connection]:
    """A connection to a copy of the file.

    Raises:
        CorruptInputError: for whatever SQLite, or making values of what it gave, raises within the block.
    """
    if not data:
        raise CorruptInputError(f"{name} is empty; expected a SQLite database")
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("PRAGMA temp_store = MEMORY")  # sorting, too, keeps off the disk
            connection.execute("PRAGMA trusted_schema = OFF")  # functions with effects are not for a file's views to call
            connection.deserialize(_without_wal(data))
            yield connection
        except (sqlite3.Error, OverflowError, ValueError, TypeError) as error:
            raise CorruptInputError(f"{name} is no usable SQLite database: {type(error).__name__}: {error}") from error


def _without_wal(data: bytes) -> bytes:
    """The same file marked as not using a write-ahead log: SQLite refuses to open one that does from memory.

    Bytes 18 and 19 are the write and read versions, 2 with a log (SQLite's file format, section 1.3).
    """
    return data[:18] + b"\x01\x01" + data[20:] if data[18:20] == b"\x02\x02" else data
