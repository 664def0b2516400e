"""Reads ``layout.db``: where a video's strip was cropped, and its OCR visualisation."""

import asyncio
import hashlib
import sqlite3
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from core.errors import CorruptInputError, MissingObjectError
from core.types import Anchor, Layout
from storage.keys import Keys
from storage.sqlite_files import open_database, require_table

if TYPE_CHECKING:  # a local layout is read without the store's client
    from storage.objects import ObjectStore

MAX_LAYOUT_BYTES: Final = 256 * 1024 * 1024
"""Limit for the fetched and for the expanded file. A row and an image need far less, but whoever writes the file may keep other
data in it. A process can spare this much memory for it."""

MAX_IMAGE_BYTES: Final = 32 * 1024 * 1024
"""More than an 8K picture takes as PNG."""

_COPIES: Final = 3
"""Copies of a file while it is read: as fetched, as SQLite holds it, and without the mark of its write-ahead log."""

_DEFLATE_RATIO: Final = 1032
"""The highest ratio of deflate (zlib's technical details)."""

_TABLE: Final = "video_layout_config"
_NUMBERS: Final = ("crop_left", "crop_top", "crop_right", "crop_bottom", "frame_width", "frame_height")
_IMAGE: Final = "ocr_visualization_image"
_COLUMNS: Final = ("anchor_type", *_NUMBERS, _IMAGE)

_MAX_PIXELS: Final = 1_000_000
"""Limit for a side of the frame: more than any film has."""


@dataclass(frozen=True, slots=True)
class StoredLayout:
    """A layout and the SHA-256 of its expanded file, so that recompressing a layout does not change the hash."""

    layout: Layout
    sha256: str
    key: str


async def fetch_layout(store: "ObjectStore", keys: Keys, tenant_id: UUID, video_id: UUID) -> StoredLayout:
    """Read a video's layout from ``layout.db``, or from ``layout.db.gz`` if ``layout.db`` is missing.

    Raises:
        MissingObjectError: neither exists.
        CorruptInputError: the file is unusable.
    """
    key = keys.layout(tenant_id, video_id)
    try:
        async with store.hold(key, MAX_LAYOUT_BYTES, _COPIES) as data:
            return await asyncio.to_thread(_read, data, key)
    except MissingObjectError:
        packed_key = f"{key}.gz"
        try:
            async with store.hold(packed_key, MAX_LAYOUT_BYTES, _COPIES * _DEFLATE_RATIO, most=_COPIES * MAX_LAYOUT_BYTES) as packed:
                return await asyncio.to_thread(_expand_and_read, packed, packed_key)
        except MissingObjectError as error:
            raise MissingObjectError(f"video {video_id} has no layout: neither {key} nor {packed_key} exists") from error


def _expand_and_read(packed: bytes, key: str) -> StoredLayout:
    return _read(expand(packed, key), key)


def _read(data: bytes, key: str) -> StoredLayout:
    return StoredLayout(parse_layout(data, key), hashlib.sha256(data).hexdigest(), key)


def expand(packed: bytes, name: str, max_bytes: int = MAX_LAYOUT_BYTES) -> bytes:
    """Expand gzip data, never holding more than ``max_bytes`` of the result.

    Raises:
        CorruptInputError: the data is not gzip, is truncated, or expands to more than that.
    """
    machine = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # 16: a gzip header and checksum are required
    try:
        data = machine.decompress(packed, max_bytes + 1)
    except zlib.error as error:
        raise CorruptInputError(f"{name} is not gzip: {error}") from error
    if len(data) > max_bytes:
        raise CorruptInputError(f"{name} expands to more than {max_bytes} bytes; expected a layout of at most that size")
    if not machine.eof:
        raise CorruptInputError(f"{name} is truncated: its gzip stream does not end")
    return data


def parse_layout(data: bytes, name: str) -> Layout:
    """Read the newest row of ``video_layout_config`` from the bytes of a SQLite file.

    Raises:
        CorruptInputError: the file is unusable; the message gives ``name``, the actual and the expected value.
    """
    with open_database(data, name, MAX_IMAGE_BYTES) as connection:
        require_table(connection, _TABLE, _COLUMNS, name)
        rowid = _newest_row(connection, name)
        numbers = {column: _whole_number(connection, rowid, column, name) for column in _NUMBERS}
        anchor, image = _anchor(connection, rowid), _image(connection, rowid, name)
    return _checked(Layout(anchor=anchor, ocr_image=image, **numbers), name)


def _newest_row(connection: sqlite3.Connection, name: str) -> int:
    newest: tuple[int] | None = connection.execute(f"SELECT rowid FROM {_TABLE} ORDER BY rowid DESC LIMIT 1").fetchone()  # noqa: S608 - a constant
    if newest is None:
        raise CorruptInputError(f"{name}: table {_TABLE} is empty; expected at least one row")
    return newest[0]


def _value(connection: sqlite3.Connection, rowid: int, expression: str) -> Any:
    return connection.execute(f"SELECT {expression} FROM {_TABLE} WHERE rowid = ?", (rowid,)).fetchone()[0]  # noqa: S608 - of constants


def _whole_number(connection: sqlite3.Connection, rowid: int, column: str, name: str) -> int:
    kind = _value(connection, rowid, f"typeof({column})")
    value = _value(connection, rowid, column) if kind in ("integer", "real") else None
    if value is None or value != value or value in (float("inf"), float("-inf")) or value != int(value):
        raise CorruptInputError(f"{name}: {column} is {_described(kind, value)}; expected a whole number of pixels")
    return int(value)


def _image(connection: sqlite3.Connection, rowid: int, name: str) -> bytes:
    kind, size = (_value(connection, rowid, expression) for expression in (f"typeof({_IMAGE})", f"length({_IMAGE})"))
    if kind != "blob" or size == 0:
        raise CorruptInputError(f"{name}: {_IMAGE} is {_described(kind, None, size)}; expected the bytes of an encoded image")
    image: bytes = _value(connection, rowid, _IMAGE)
    return image


def _anchor(connection: sqlite3.Connection, rowid: int) -> Anchor:
    value = _value(connection, rowid, "CASE WHEN typeof(anchor_type) = 'text' THEN substr(anchor_type, 1, 16) END")
    return next((anchor for anchor in Anchor if anchor == value), Anchor.CENTER)


def _checked(layout: Layout, name: str) -> Layout:
    """Reject a box that no frame can have. A frame whose side is not positive has an unknown size and limits nothing.

    Raises:
        CorruptInputError: names the edges that were found.
    """
    edges = (
        ("crop_left", layout.crop_left, "crop_right", layout.crop_right, "frame_width", layout.frame_width),
        ("crop_top", layout.crop_top, "crop_bottom", layout.crop_bottom, "frame_height", layout.frame_height),
    )
    for first_name, first, last_name, last, side_name, side in edges:
        if not 0 <= first < last <= (side if side > 0 else _MAX_PIXELS) <= _MAX_PIXELS:
            raise CorruptInputError(
                f"{name}: {first_name} is {first}, {last_name} is {last}, {side_name} is {side}; "
                f"expected 0 <= {first_name} < {last_name} <= {side_name}, and at most {_MAX_PIXELS} pixels"
            )
    return layout


def _described(kind: str, value: object, size: int | None = None) -> str:
    if value is not None:
        return f"{kind} {value!r}"
    return "NULL" if kind == "null" else kind if size is None else f"{kind} of length {size}"
