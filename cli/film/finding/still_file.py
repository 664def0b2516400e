"""Keeps the stills of a film on disk until it is known which of them show a caption."""

import os
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from cli.shared.pictures import png
from inference.finding.stills import Still
from inference.finding.zone import Zone


@dataclass(frozen=True, slots=True)
class _Kept:
    first_frame: int
    last_frame: int
    offset: int
    size_bytes: int


class StillFile:
    """PNGs in a temporary file without a name: memory stays flat, and nothing is left behind however the process ends."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._kept: dict[str, list[_Kept]] = defaultdict(list)  # by zone

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def add(self, zone: Zone, still: Still) -> None:
        data = png(still.picture)
        self._kept[zone.name].append(_Kept(still.first_frame, still.last_frame, self._file.seek(0, os.SEEK_END), len(data)))
        self._file.write(data)

    def longest(self, zone: str, first_frame: int, last_frame: int) -> bytes | None:
        """The still of the longest stretch in a zone that shares a frame with these; None if there is none."""
        shared = [kept for kept in self._kept.get(zone, []) if kept.first_frame <= last_frame and kept.last_frame >= first_frame]
        if not shared:
            return None
        kept = max(shared, key=lambda kept: kept.last_frame - kept.first_frame)
        self._file.seek(kept.offset)
        return self._file.read(kept.size_bytes)
