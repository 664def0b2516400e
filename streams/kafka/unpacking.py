r"""Reads records whose header names are not valid UTF-8.

Kafka's protocol defines a header's name as a string, but brokers do not validate it, and clients in C may send any bytes. aiokafka
0.14 can read neither such a record nor the records after it. This module reads them, and writes each invalid byte as ``\xNN``.
"""

from typing import Any, Final, Self

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_LENGTH_END: Final = 12
"""A batch begins with its base offset (8 bytes) and the length of the rest (4 bytes)."""


def install() -> None:
    """Make every consumer of this process read its records through this module. Repeated calls have no effect."""
    fetcher.MemoryRecords = _Records


class _Records:
    """The batches of one partition in a fetch response. Replaces aiokafka's ``MemoryRecords``."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._records = MemoryRecords(data)
        self._position = 0

    def size_in_bytes(self) -> int:
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        return bool(self._records.has_next())

    def next_batch(self) -> "_Batch":
        start = self._position
        self._position += _LENGTH_END + int.from_bytes(self._data[start + 8 : start + _LENGTH_END], "big")
        return _Batch(self._records.next_batch(), self._data, start, self._position)


class _Batch:
    """A batch. aiokafka's usual reader reads it until it fails, and ``_EscapingBatch`` reads the rest."""

    def __init__(self, batch: Any, data: bytes, start: int, end: int) -> None:
        self._batch, self._data, self._start, self._end = batch, data, start, end
        self._records = batch
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Self:
        self._records = iter(self._records)
        return self

    def __next__(self) -> Any:
        try:
            record = next(self._records)
        except (UnicodeDecodeError, CorruptRecordException):
            if isinstance(self._records, _EscapingBatch):
                raise
            record = self._read_again()
        self._count += 1
        return record

    def _read_again(self) -> Any:
        """Return the record at which the usual reader failed, and continue from there with the escaping one."""
        self._records = iter(_EscapingBatch(self._data[self._start : self._end]))
        for _ in range(self._count):
            next(self._records)
        return next(self._records)


class _EscapingBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # it has no types
    """aiokafka's reader in pure Python, which calls ``decode`` on slices of its buffer for the header names."""

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _EscapingBytes(self._buffer)


class _EscapingBytes(bytearray):
    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        return _EscapingBytes(part) if isinstance(part, bytearray) else part

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)
