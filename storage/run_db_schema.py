"""The tables of a run database. The first two are the former service's, so its readers can still read them."""

from typing import Final

from core.types import LABELS

DIRECTIONS: Final = ("forward", "backward")

RESULT_COLUMNS: Final = tuple(
    f"{direction}_{value}"
    for direction in DIRECTIONS
    for value in ("predicted_label", "confidence", *(f"prob_{label}" for label in LABELS))
)
"""Columns of ``pair_results`` between the frame indices and the time."""

_LABEL_LIST: Final = ", ".join(f"'{label}'" for label in LABELS)


def _result_column(name: str) -> str:
    if name.endswith("_predicted_label"):
        return f"    {name} TEXT NOT NULL CHECK ({name} IN ({_LABEL_LIST}))"
    return f"    {name} REAL NOT NULL CHECK ({name} BETWEEN 0 AND 1)"


_RESULTS: Final = ",\n".join(_result_column(name) for name in RESULT_COLUMNS)

TABLES: Final = f"""
CREATE TABLE run_metadata (
    cropped_frames_version INTEGER NOT NULL,
    model_version TEXT NOT NULL,
    model_checkpoint_path TEXT NOT NULL,
    run_id TEXT PRIMARY KEY,
    started_at TEXT NOT NULL,
    completed_at TEXT NOT NULL,
    total_pairs INTEGER NOT NULL,
    processing_time_seconds REAL NOT NULL
);
CREATE TABLE pair_results (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    frame1_index INTEGER NOT NULL,
    frame2_index INTEGER NOT NULL,
{_RESULTS},
    processing_time_ms REAL,
    UNIQUE (frame1_index, frame2_index)
);
CREATE TABLE run_provenance (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE caption_extents (
    id INTEGER PRIMARY KEY,
    first_frame INTEGER NOT NULL CHECK (first_frame >= 0),
    last_frame INTEGER NOT NULL CHECK (last_frame >= first_frame),
    start_seconds REAL NOT NULL,
    end_seconds REAL NOT NULL,
    start_confidence REAL CHECK (start_confidence BETWEEN 0 AND 1),
    end_confidence REAL CHECK (end_confidence BETWEEN 0 AND 1)
);
CREATE TABLE quality_issues (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('direction_conflict', 'incoherent', 'single_frame', 'doubtful')),
    frame_index INTEGER NOT NULL,
    detail TEXT NOT NULL
);
"""

INDEX: Final = "CREATE INDEX idx_pair_frames ON pair_results (frame1_index, frame2_index)"
"""Created after the rows: sorting once is cheaper than keeping the index sorted."""
