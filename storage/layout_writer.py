"""Writes ``layout.db`` in the form that ``storage.layouts`` reads."""

import sqlite3
from contextlib import closing
from typing import Final

from core.types import Layout
from storage.sqlite_files import to_bytes

_TABLE: Final = """
CREATE TABLE video_layout_config (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    frame_width INTEGER NOT NULL,
    frame_height INTEGER NOT NULL,
    crop_left INTEGER NOT NULL,
    crop_top INTEGER NOT NULL,
    crop_right INTEGER NOT NULL,
    crop_bottom INTEGER NOT NULL,
    anchor_type TEXT NOT NULL,
    ocr_visualization_image BLOB NOT NULL
)
"""


def pack_layout(layout: Layout) -> bytes:
    """Return the bytes of a ``layout.db`` with this one row. The same layout gives the same bytes."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute(_TABLE)
        connection.execute(
            "INSERT INTO video_layout_config VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                layout.frame_width,
                layout.frame_height,
                layout.crop_left,
                layout.crop_top,
                layout.crop_right,
                layout.crop_bottom,
                layout.anchor.value,
                layout.ocr_image,
            ),
        )
        connection.commit()
        return to_bytes(connection)
