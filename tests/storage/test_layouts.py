"""``layout.db`` is read as documented, and rejected by name if it cannot be."""

import gzip
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from core.errors import CorruptInputError
from core.types import Anchor, Layout
from storage.layouts import expand, parse_layout

ROW = {
    "frame_width": 400,
    "frame_height": 360,
    "crop_left": 50,
    "crop_top": 290,
    "crop_right": 350,
    "crop_bottom": 351,
    "anchor_type": "left",
    "ocr_visualization_image": b"\x89PNG",
}
EXPECTED = Layout(Anchor.LEFT, 50, 290, 350, 351, 400, 360, b"\x89PNG")
TABLE = f"CREATE TABLE video_layout_config (id INTEGER PRIMARY KEY AUTOINCREMENT, {', '.join(ROW)})"


def database(*rows: dict, table: str = TABLE, wal: bool = False) -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(table)
        for row in rows:
            names, marks = ", ".join(row), ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO video_layout_config ({names}) VALUES ({marks})", tuple(row.values()))
        connection.commit()
        data = connection.serialize()
    return data[:18] + b"\x02\x02" + data[20:] if wal else data


def test_the_newest_row_counts():
    """If there are several rows, the last one is the layout."""
    assert parse_layout(database(ROW | {"crop_left": 1}, ROW), "layout.db") == EXPECTED


@pytest.mark.parametrize("anchor", ["top", "", None, 3, b"left"])
def test_an_unknown_anchor_counts_as_center(anchor):
    """Any anchor except left, center and right counts as center, as for the former service."""
    assert parse_layout(database(ROW | {"anchor_type": anchor}), "layout.db").anchor is Anchor.CENTER


def test_a_file_written_with_a_write_ahead_log_is_read():
    """A layout whose writer used WAL mode is read like any other."""
    assert parse_layout(database(ROW, wal=True), "layout.db") == EXPECTED


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "is empty; expected a SQLite database"),
        (b"not a database at all, but long enough to be looked at as one" * 20, "not a usable SQLite database"),
        (database(ROW)[:5000], "not a usable SQLite database"),
        (database(table="CREATE TABLE other (x)"), "no table video_layout_config"),
        (database(table="CREATE TABLE video_layout_config (anchor_type, crop_left)"), "lacks crop_top, crop_right"),
        (database(), "is empty; expected at least one row"),
        (database(ROW | {"crop_top": "high"}), "crop_top is text; expected a whole number"),
        (database(ROW | {"crop_top": 1.5}), "crop_top is real 1.5; expected a whole number"),
        (database(ROW | {"crop_top": float("inf")}), "crop_top is real inf; expected a whole number"),
        (database(ROW | {"crop_right": 2**63 - 1}), f"crop_right is {2**63 - 1}, frame_width is 400; expected 0 <= crop_left < crop_right"),
        (database(ROW | {"crop_left": -1}), "crop_left is -1"),
        (database(ROW | {"crop_left": 350}), "crop_left is 350, crop_right is 350"),
        (database(ROW | {"crop_bottom": 361}), "crop_bottom is 361, frame_height is 360"),
        (database(ROW | {"frame_width": 0, "crop_right": 1_000_001}), "at most 1000000 pixels"),
        (database(ROW | {"frame_width": 10**9}), "frame_width is 1000000000"),
        (database(ROW | {"frame_width": None}), "frame_width is NULL; expected a whole number"),
        (database(ROW | {"ocr_visualization_image": None}), "ocr_visualization_image is NULL; expected the bytes"),
        (database(ROW | {"ocr_visualization_image": b""}), "ocr_visualization_image is blob of length 0; expected the bytes"),
        (database(ROW | {"ocr_visualization_image": "x"}), "ocr_visualization_image is text of length 1; expected the bytes"),
    ],
)
def test_an_unusable_layout_is_corrupt_input(data, complaint):
    """The error names the object, what was found and what was expected."""
    with pytest.raises(CorruptInputError, match=f"^videos/x/layout.db.*{complaint}"):
        parse_layout(data, "videos/x/layout.db")


COLUMNS = ", ".join(f"x AS {name}" for name in ("rowid", *ROW))
HUGE = ", ".join(f"zeroblob(999000000) AS {name}" for name in ("rowid", *ROW))
CRAFTED = {
    "an endless view": (
        f"CREATE VIEW video_layout_config AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT {COLUMNS} FROM n"
    ),
    "a view of huge values": f"CREATE VIEW video_layout_config AS SELECT {HUGE}",
    "generated columns": (
        f"CREATE TABLE video_layout_config (id INTEGER PRIMARY KEY, {', '.join(f'{n} AS (zeroblob(999000000))' for n in ROW)})"
    ),
    "a virtual table": f"CREATE VIRTUAL TABLE video_layout_config USING fts5({', '.join(ROW)})",
}
LARGE = {
    "a blob for a number": {"crop_left": bytes(200_000_000)},
    "a text for a number": {"crop_left": "9" * 200_000_000},
    "an image of 200 MB": {"ocr_visualization_image": bytes(200_000_000)},
}


@pytest.mark.parametrize("statement", CRAFTED.values(), ids=CRAFTED)
def test_a_table_that_is_none_is_refused(statement):
    """A crafted file whose table is a query, or has computed columns, is rejected before any value is read."""
    with within(40_000_000), pytest.raises(CorruptInputError, match=r"expected a table|lacks anchor_type"):
        parse_layout(database(table=statement), "layout.db")


@pytest.mark.parametrize("row", LARGE.values(), ids=LARGE)
def test_a_value_out_of_all_measure_is_not_fetched(row):
    """A column's type and length are checked before its value is read, so memory and error message stay bounded."""
    data = database(ROW | row)
    with within(250_000_000), pytest.raises(CorruptInputError) as raised:
        parse_layout(data, "layout.db")
    assert len(str(raised.value)) < 300


@contextmanager
def within(size_bytes: int) -> Iterator[None]:
    """Fail if the process uses this much more memory at any time in the block."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak (proc(5))
    before = _peak_bytes()
    yield
    assert _peak_bytes() - before < size_bytes


def _peak_bytes() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def test_expanding_gives_the_file_back():
    """A packed layout expands to the same layout."""
    assert parse_layout(expand(gzip.compress(database(ROW)), "layout.db.gz"), "layout.db.gz") == EXPECTED


def test_a_file_that_expands_without_end_is_refused():
    """A small file that expands beyond the limit is rejected at the limit."""
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    with pytest.raises(CorruptInputError, match=r"^layout.db.gz expands to more than 1000000 bytes"):
        expand(bomb, "layout.db.gz", max_bytes=1_000_000)


def test_a_file_of_exactly_the_limit_is_taken():
    """A file of exactly the limit is accepted."""
    assert len(expand(gzip.compress(bytes(1000)), "layout.db.gz", max_bytes=1000)) == 1000


@pytest.mark.parametrize(
    ("data", "complaint"), [(b"plain", "is not gzip"), (gzip.compress(b"x" * 999, mtime=0)[:-4], "is truncated"), (b"", "is truncated")]
)
def test_broken_gzip_is_corrupt_input(data, complaint):
    """Other bytes and a truncated file are rejected as corrupt."""
    with pytest.raises(CorruptInputError, match=f"^layout.db.gz {complaint}"):
        expand(data, "layout.db.gz")
