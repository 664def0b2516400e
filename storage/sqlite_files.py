"""Opens SQLite files from bytes, in memory. Nothing is written to disk, and the file's contents are not trusted."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from core.errors import CorruptInputError


@contextmanager
def open_database(data: bytes, name: str) -> Iterator[sqlite3.Connection]:
    """Open a connection to a copy of the file.

    Raises:
        CorruptInputError: SQLite, or the conversion of its values, failed within the block.
    """
    if not data:
        raise CorruptInputError(f"{name} is empty; expected a SQLite database")
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("PRAGMA temp_store = MEMORY")  # sorting must not use the disk either
            connection.execute("PRAGMA trusted_schema = OFF")  # views of the file must not call functions with side effects
            connection.deserialize(_without_wal(data))
            yield connection
        except (sqlite3.Error, OverflowError, ValueError, TypeError) as error:
            raise CorruptInputError(f"{name} is not a usable SQLite database: {type(error).__name__}: {error}") from error


def _without_wal(data: bytes) -> bytes:
    """Mark the file as not using a write-ahead log, since SQLite cannot open one that does from memory.

    Bytes 18 and 19 are the write and read versions; 2 means WAL (SQLite file format, section 1.3).
    """
    return data[:18] + b"\x01\x01" + data[20:] if data[18:20] == b"\x02\x02" else data
