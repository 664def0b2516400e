"""Reads run databases: ours, those of the former service, and any other object under a key. Nothing in them is trusted."""

import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from core.captions import CaptionExtent, CaptionTrack, QualityIssue, extent_confidence, find_captions
from core.errors import CorruptInputError
from core.types import LABELS, Label
from storage.run_db_schema import DIRECTIONS, RESULT_COLUMNS
from storage.sqlite_files import has_table, open_database, require_table

MAX_RUN_DB_BYTES: Final = 512 * 1024 * 1024
"""Far above any run: 200,000 pairs take about 70 MB."""

MAX_PAIRS: Final = 2_000_000
"""The maximum number of pairs in a run: two days of video."""

_MAX_VALUE_BYTES: Final = 1024 * 1024
_MAX_TEXT: Final = 4096
"""The longest text, in characters, that we or the former service wrote."""

_METADATA: Final = {
    "run_id": "text",
    "model_version": "text",
    "model_checkpoint_path": "text|null",
    "cropped_frames_version": "integer|null",
    "started_at": "text",
    "completed_at": "text",
    "total_pairs": "integer",
    "processing_time_seconds": "integer|real|null",
}
_PROBABILITIES: Final = [column for column in RESULT_COLUMNS if "_prob_" in column]
_PAIRS: Final = {
    "frame1_index": "integer",
    "frame2_index": "integer",
    "processing_time_ms": "integer|real|null",
    **dict.fromkeys(_PROBABILITIES, "integer|real"),
}
_PROVENANCE: Final = {"key": "text", "value": "text"}
_CAPTIONS: Final = {
    "id": "integer",
    "first_frame": "integer",
    "last_frame": "integer",
    "start_confidence": "integer|real|null",
    "end_confidence": "integer|real|null",
}
_ISSUES: Final = {"id": "integer", "kind": "text", "frame_index": "integer", "detail": "text"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunDatabase:
    """The contents of a run database.

    Attributes:
        attempt: 1 in a database of the former service.
        gpu_seconds: None in a database of the former service.
        provenance: empty in a database of the former service.
        probabilities: (pairs, 2, 5) float32, as written; a missing pair has five equal ones.
        pair_milliseconds: (pairs,) float64; NaN if unknown.
        missing_pairs: first frames of the pairs that the former service could not predict and left out, ascending.
        track: captions and issues as stored; derived from ``probabilities`` for a database of the former service.
    """

    run_id: str
    attempt: int
    cropped_frames_version: int | None
    model_version: str
    model_checkpoint_path: str | None
    started_at: datetime
    completed_at: datetime
    processing_time_seconds: float | None
    gpu_seconds: float | None
    provenance: Mapping[str, str]
    probabilities: npt.NDArray[np.float32]
    pair_milliseconds: npt.NDArray[np.float64]
    missing_pairs: tuple[int, ...]
    track: CaptionTrack

    @property
    def pairs(self) -> int:
        return int(self.probabilities.shape[0])

    @property
    def label_counts(self) -> dict[Label, int]:
        """Counts the pairs that are not missing."""
        counts = np.bincount(np.delete(self.track.labels, self.missing_pairs), minlength=len(LABELS)).tolist()
        return dict(zip(LABELS, counts, strict=True))


def read_run_file(path: Path) -> RunDatabase:
    """Read a run database from disk.

    Raises:
        CorruptInputError: it is too large, or unusable as in ``read_run_db``.
    """
    size_bytes = path.stat().st_size
    if size_bytes > MAX_RUN_DB_BYTES:
        raise CorruptInputError(f"{path} is {size_bytes} bytes; a run database has at most {MAX_RUN_DB_BYTES}")
    return read_run_db(path.read_bytes(), str(path))


def read_run_db(data: bytes, name: str) -> RunDatabase:
    """Check a run database and read it.

    Raises:
        CorruptInputError: the file is damaged, incomplete or not a run database; the message gives ``name`` and what was expected.
    """
    with open_database(data, name, _MAX_VALUE_BYTES) as connection:
        return _read(connection, name)


def _read(connection: sqlite3.Connection, name: str) -> RunDatabase:
    is_ours = has_table(connection, "run_provenance")
    tables = {"run_metadata": _METADATA, "pair_results": _PAIRS}
    if is_ours:
        tables |= {"run_provenance": _PROVENANCE, "caption_extents": _CAPTIONS, "quality_issues": _ISSUES}
    for table, columns in tables.items():
        require_table(connection, table, list(columns), name)
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise CorruptInputError(f"{name} is damaged: {str(verdict)[:200]}")
    for table, columns in tables.items():
        _check_types(connection, table, columns, name)

    metadata = connection.execute(f"SELECT {', '.join(_METADATA)} FROM run_metadata").fetchmany(2)  # noqa: S608 - only constants
    if len(metadata) != 1:
        raise CorruptInputError(f"{name}: run_metadata has {len(metadata) or 'no'} rows; expected 1")
    values = dict(zip(_METADATA, metadata[0], strict=True))
    pairs = _checked_count(values["total_pairs"], name)
    probabilities, milliseconds, missing = _read_pairs(connection, pairs, name)
    if missing and is_ours:
        raise CorruptInputError(f"{name}: {pairs - len(missing)} rows in pair_results; expected {pairs}, one for each frame and the next")
    provenance = dict(_rows(connection, "run_provenance", ["key", "value"], "key")) if is_ours else {}
    derived = _without_issues_of(missing, find_captions(probabilities))
    return RunDatabase(
        run_id=values["run_id"],
        attempt=int(provenance.get("attempt", "1")),
        cropped_frames_version=values["cropped_frames_version"],
        model_version=values["model_version"],
        model_checkpoint_path=values["model_checkpoint_path"],
        started_at=_moment(values["started_at"]),
        completed_at=_moment(values["completed_at"]),
        processing_time_seconds=_seconds(values["processing_time_seconds"]),
        gpu_seconds=_seconds(float(provenance["gpu_seconds"])) if "gpu_seconds" in provenance else None,
        provenance=provenance,
        probabilities=probabilities,
        pair_milliseconds=milliseconds,
        missing_pairs=missing,
        track=_stored_track(connection, derived) if is_ours else derived,
    )


def _check_types(connection: sqlite3.Connection, table: str, columns: Mapping[str, str], name: str) -> None:
    """Check the types of a table's values in SQL, before any value is fetched.

    Raises:
        CorruptInputError: names the first column with values of another type, or the table with a text that is too long.
    """
    tests = [f"sum(typeof({column}) NOT IN ({', '.join(repr(kind) for kind in kinds.split('|'))}))" for column, kinds in columns.items()]
    tests += [f"max(length({column}))" for column, kinds in columns.items() if "text" in kinds]
    measured = connection.execute(f"SELECT {', '.join(tests)} FROM {table}").fetchone()  # noqa: S608 - only constants
    for column, wrong in zip(columns, measured, strict=False):
        if wrong:
            expected = columns[column].replace("|", " or ")
            raise CorruptInputError(f"{name}: {table}.{column} has the wrong type in {wrong} rows; expected {expected}")
    longest = max((length or 0 for length in measured[len(columns) :]), default=0)
    if longest > _MAX_TEXT:
        raise CorruptInputError(f"{name}: {table} holds a text of {longest} characters; expected at most {_MAX_TEXT}")


def _checked_count(pairs: int, name: str) -> int:
    if not 1 <= pairs <= MAX_PAIRS:
        raise CorruptInputError(f"{name}: run_metadata.total_pairs is {pairs}; expected 1 to {MAX_PAIRS}")
    return pairs


def _read_pairs(
    connection: sqlite3.Connection, pairs: int, name: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], tuple[int, ...]]:
    """Read probabilities (pairs, 2, 5), milliseconds (pairs,), and the first frames of pairs without a row."""
    (count,) = connection.execute("SELECT count(*) FROM pair_results").fetchone()
    if not 1 <= count <= pairs:
        raise CorruptInputError(f"{name}: {count} rows in pair_results; expected {pairs}, one for each frame and the next")
    columns = ["frame1_index", "frame2_index", "processing_time_ms", *_PROBABILITIES]
    rows = np.empty((count, len(columns)), dtype=np.float64)
    for position, row in enumerate(_rows(connection, "pair_results", columns, "frame1_index")):
        rows[position] = row
    first = rows[:, 0].astype(np.int64)
    ascending = count == 1 or bool((np.diff(first) > 0).all())
    if not (ascending and first[0] >= 0 and first[-1] < pairs and np.array_equal(rows[:, 1], rows[:, 0] + 1)):
        raise CorruptInputError(f"{name}: pair_results is invalid; expected each pair of a frame and the next once, from 0 to {pairs - 1}")
    scores = rows[:, 3:].reshape(-1, len(DIRECTIONS), len(LABELS))
    if not bool(((scores >= 0) & (scores <= 1)).all()):  # also false for NaN
        raise CorruptInputError(f"{name}: a probability in pair_results is not within 0..1")
    probabilities = np.full((pairs, len(DIRECTIONS), len(LABELS)), 1 / len(LABELS), dtype=np.float32)
    probabilities[first] = scores
    milliseconds = np.full(pairs, np.nan)
    milliseconds[first] = rows[:, 2]
    return probabilities, milliseconds, tuple(np.setdiff1d(np.arange(pairs), first, assume_unique=True).tolist())


def _rows(connection: sqlite3.Connection, table: str, columns: Sequence[str], order: str) -> sqlite3.Cursor:
    return connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}")  # noqa: S608 - only constants


def _without_issues_of(missing: Sequence[int], track: CaptionTrack) -> CaptionTrack:
    """Drop issues of missing pairs: nothing was predicted for them, so nothing about them is doubtful."""
    gone = set(missing)
    kept = (issue for issue in track.issues if issue.kind in ("single_frame", "doubtful") or issue.frame_index not in gone)
    return replace(track, issues=tuple(kept)) if gone else track


def _stored_track(connection: sqlite3.Connection, derived: CaptionTrack) -> CaptionTrack:
    captions = _rows(connection, "caption_extents", list(_CAPTIONS)[1:], "id")
    issues = tuple(QualityIssue(*row) for row in _rows(connection, "quality_issues", list(_ISSUES)[1:], "id"))
    return replace(
        derived,
        captions=tuple(_stored_caption(derived, *row) for row in captions),
        doubts=derived.doubts if any(issue.kind == "doubtful" for issue in issues) else (),  # earlier versions left none out
        issues=issues,
    )


def _stored_caption(derived: CaptionTrack, first: int, last: int, start: float | None, end: float | None) -> CaptionExtent:
    frames = len(derived.labels) + 1
    if not 0 <= first <= last < frames:
        raise ValueError(f"a caption of frames {first} to {last} in a video of {frames}")
    return CaptionExtent(first, last, start, end, extent_confidence(derived.probabilities, first, last))


def _moment(text: str) -> datetime:
    """Parse a time as UTC. The former service wrote times in UTC without a zone."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{value} is not a number of seconds")
    return float(value)
