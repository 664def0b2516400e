"""SQLite files in memory: bytes to a connection and back. Nothing is written to disk, and an opened file's contents are not trusted.

SQLite answers any query about any file, and a crafted file can make the answer arbitrarily large: a view of
``zeroblob(999000000)`` takes four kilobytes. So values have a maximum length, only plain tables are read, and a column's content
is checked in SQL before a value is fetched.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Final

from core.errors import CorruptInputError

_STEPS_BETWEEN_LOOKS: Final = 100_000
_STEPS_PER_BYTE: Final = 20
"""Limit for the steps of SQLite's virtual machine while a file is open. Checking and reading a run database takes 2 per byte."""

_STEPS_AT_LEAST: Final = 5_000_000

_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1_000_000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 10,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 250_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
"""Far above what our statements and tables need."""

_WRITER_VERSION: Final = (3_040_000).to_bytes(4, "big")
"""Written at byte 96, where SQLite stores its own version, so that the bytes do not depend on the machine. It has no effect."""


@contextmanager
def open_database(data: bytes, name: str, max_value_bytes: int) -> Iterator[sqlite3.Connection]:
    """Open a connection to a copy of the file.

    Args:
        max_value_bytes: the maximum length of a text, blob or row that SQLite may create or read.

    Raises:
        CorruptInputError: SQLite, or the conversion of its values, failed within the block.
    """
    if not data:
        raise CorruptInputError(f"{name} is empty; expected a SQLite database")
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            for limit, most in {**_LIMITS, sqlite3.SQLITE_LIMIT_LENGTH: max_value_bytes}.items():
                connection.setlimit(limit, most)
            connection.execute("PRAGMA temp_store = MEMORY")  # sorting must not use the disk either
            connection.execute("PRAGMA trusted_schema = OFF")  # views of the file must not call functions with side effects
            connection.execute("PRAGMA cell_size_check = ON")
            steps = iter(range(max(_STEPS_AT_LEAST, _STEPS_PER_BYTE * len(data)) // _STEPS_BETWEEN_LOOKS))
            connection.set_progress_handler(lambda: next(steps, None) is None, _STEPS_BETWEEN_LOOKS)
            connection.deserialize(_without_wal(data))
            yield connection
        except (sqlite3.Error, OverflowError, ValueError, TypeError, MemoryError) as error:
            raise CorruptInputError(f"{name} is not a usable SQLite database: {type(error).__name__}: {error}") from error


def to_bytes(connection: sqlite3.Connection) -> bytes:
    """Return the bytes of a new database. The same statements give the same bytes on every machine."""
    data = connection.serialize()
    return data[:96] + _WRITER_VERSION + data[100:]


def require_table(connection: sqlite3.Connection, table: str, columns: Sequence[str], name: str) -> None:
    """Check that the file has this table, that it is not a view, and that it stores these columns.

    Generated columns, which are computed when they are read, do not count.

    Raises:
        CorruptInputError: one of these does not hold.
    """
    entry = connection.execute("SELECT type, sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    if entry is None:
        raise CorruptInputError(f"{name} has no table {table}")
    kind, definition = entry
    if kind != "table" or not str(definition).upper().startswith("CREATE TABLE"):
        raise CorruptInputError(f"{name}: {table} is a {kind if kind != 'table' else 'virtual table'}; expected a table")
    present = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    missing = [column for column in columns if column not in present]
    if missing:
        raise CorruptInputError(f"{name}: table {table} lacks {', '.join(missing)}")


def has_table(connection: sqlite3.Connection, table: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone() is not None


def _without_wal(data: bytes) -> bytes:
    """Mark the file as not using a write-ahead log, since SQLite cannot open one that does from memory.

    Bytes 18 and 19 are the write and read versions; 2 means WAL (SQLite file format, section 1.3).
    """
    return data[:18] + b"\x01\x01" + data[20:] if data[18:20] == b"\x02\x02" else data
