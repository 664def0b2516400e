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
from storage.sqlite_files import open_database

if TYPE_CHECKING:  # a layout on this machine is read without the store's client
    from storage.objects import ObjectStore

MAX_LAYOUT_BYTES: Final = 256 * 1024 * 1024
"""Limit for the fetched and for the expanded file. A row and an image need far less, but the file may contain other data of its
writer; this is what a process can spare for it."""

_TABLE: Final = "video_layout_config"
_NUMBERS: Final = ("crop_left", "crop_top", "crop_right", "crop_bottom", "frame_width", "frame_height")
_IMAGE: Final = "ocr_visualization_image"
_COLUMNS: Final = ("anchor_type", *_NUMBERS, _IMAGE)

_MAX_STEPS: Final = 50
"""Limit in units of 100,000 virtual-machine steps. Reading the newest row takes a few dozen steps; a crafted view may never end."""


@dataclass(frozen=True, slots=True)
class StoredLayout:
    """A layout and the SHA-256 of its expanded file, so that recompressing a layout does not change the hash."""

    layout: Layout
    sha256: str
    key: str


async def fetch_layout(store: "ObjectStore", keys: Keys, tenant_id: UUID, video_id: UUID) -> StoredLayout:
    """Read a video's layout from ``layout.db``, or from ``layout.db.gz`` if that is missing.

    Raises:
        MissingObjectError: neither exists.
        CorruptInputError: the file is unusable.
    """
    key = keys.layout(tenant_id, video_id)
    try:
        data = await store.get(key, MAX_LAYOUT_BYTES)
    except MissingObjectError:
        try:
            packed = await store.get(f"{key}.gz", MAX_LAYOUT_BYTES)
        except MissingObjectError as error:
            raise MissingObjectError(f"video {video_id} has no layout: neither {key} nor {key}.gz exists") from error
        key = f"{key}.gz"
        data = await asyncio.to_thread(expand, packed, key)
    return await asyncio.to_thread(_read, data, key)


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
        raise CorruptInputError(f"{name} expands to more than {max_bytes} bytes; expected a layout within that")
    if not machine.eof:
        raise CorruptInputError(f"{name} is truncated: its gzip stream does not end")
    return data


def parse_layout(data: bytes, name: str) -> Layout:
    """Read the newest row of ``video_layout_config`` from the bytes of a SQLite file.

    Raises:
        CorruptInputError: the file is unusable; the message gives ``name``, the actual and the expected value.
    """
    with open_database(data, name) as connection:
        row = _newest_row(connection, name)
    values = dict(zip(_COLUMNS, row, strict=True))
    numbers = {column: _whole_number(values[column], column, name) for column in _NUMBERS}
    image = values[_IMAGE]
    if not isinstance(image, bytes) or not image:
        raise CorruptInputError(f"{name}: {_IMAGE} is {_described(image)}; expected the bytes of an encoded image")
    return Layout(anchor=_anchor(values["anchor_type"]), ocr_image=image, **numbers)


def _newest_row(connection: sqlite3.Connection, name: str) -> tuple[Any, ...]:
    steps = iter(range(_MAX_STEPS))
    connection.set_progress_handler(lambda: next(steps, None) is None, 100_000)
    columns = {row[1] for row in connection.execute(f"PRAGMA table_info({_TABLE})")}
    if not columns:
        raise CorruptInputError(f"{name} has no table {_TABLE}")
    missing = [column for column in _COLUMNS if column not in columns]
    if missing:
        raise CorruptInputError(f"{name}: table {_TABLE} lacks {', '.join(missing)}")
    newest = f"SELECT {', '.join(_COLUMNS)} FROM {_TABLE} ORDER BY rowid DESC LIMIT 1"  # noqa: S608 - constants alone
    row: tuple[Any, ...] | None = connection.execute(newest).fetchone()
    if row is None:
        raise CorruptInputError(f"{name}: table {_TABLE} is empty; expected at least one row")
    return row


def _anchor(value: object) -> Anchor:
    return next((anchor for anchor in Anchor if anchor == value), Anchor.CENTER)


def _whole_number(value: object, column: str, name: str) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int):
        raise CorruptInputError(f"{name}: {column} is {_described(value)}; expected a whole number of pixels")
    return value


def _described(value: object) -> str:
    return "NULL" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
