"""``layout.db``: read as documented, and refused by name when it cannot be."""

import gzip
import sqlite3
from contextlib import closing

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
    """Of several rows the one written last is the layout."""
    assert parse_layout(database(ROW | {"crop_left": 1}, ROW), "layout.db") == EXPECTED


@pytest.mark.parametrize("anchor", ["top", "", None, 3, b"left"])
def test_an_unknown_anchor_counts_as_center(anchor):
    """Anything but left, center and right is center, as it was for the old service."""
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
        (database(ROW | {"crop_top": "high"}), "crop_top is str 'high'; expected a whole number"),
        (database(ROW | {"crop_top": 1.5}), "crop_top is float '1.5'; expected a whole number"),
        (database(ROW | {"frame_width": None}), "frame_width is NULL; expected a whole number"),
        (database(ROW | {"ocr_visualization_image": None}), "ocr_visualization_image is NULL; expected the bytes"),
        (database(ROW | {"ocr_visualization_image": b""}), "ocr_visualization_image is bytes .*; expected the bytes"),
        (database(ROW | {"ocr_visualization_image": "x"}), "ocr_visualization_image is str 'x'; expected the bytes"),
    ],
)
def test_an_unusable_layout_is_corrupt_input(data, complaint):
    """The message names the object, what was found and what was expected."""
    with pytest.raises(CorruptInputError, match=f"^videos/x/layout.db.*{complaint}"):
        parse_layout(data, "videos/x/layout.db")


def test_a_view_that_never_ends_is_stopped():
    """A crafted file in which the table is an endless query is given up instead of holding the process."""
    columns = ", ".join(f"x AS {name}" for name in ("rowid", *ROW))
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
    view = f"CREATE VIEW video_layout_config AS {endless} SELECT {columns} FROM n"
    with pytest.raises(CorruptInputError, match="interrupted"):
        parse_layout(database(table=view), "layout.db")


def test_expanding_gives_the_file_back():
    """What was packed comes out as it went in."""
    assert parse_layout(expand(gzip.compress(database(ROW)), "layout.db.gz"), "layout.db.gz") == EXPECTED


def test_a_file_that_expands_without_end_is_refused():
    """A small file that claims to be huge is given up at the limit, which is all that is ever held."""
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    with pytest.raises(CorruptInputError, match=r"^layout.db.gz expands to more than 1000000 bytes"):
        expand(bomb, "layout.db.gz", max_bytes=1_000_000)


def test_a_file_of_exactly_the_limit_is_taken():
    """The limit itself is allowed."""
    assert len(expand(gzip.compress(bytes(1000)), "layout.db.gz", max_bytes=1000)) == 1000


@pytest.mark.parametrize(
    ("data", "complaint"), [(b"plain", "is not gzip"), (gzip.compress(b"x" * 999, mtime=0)[:-4], "is truncated"), (b"", "is truncated")]
)
def test_broken_gzip_is_corrupt_input(data, complaint):
    """Neither foreign bytes nor a file cut short pass for a layout."""
    with pytest.raises(CorruptInputError, match=f"^layout.db.gz {complaint}"):
        expand(data, "layout.db.gz")
