"""A finished run as plain values, from which its database, rows and event are made. No files, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
import numpy.typing as npt

from core.types import LABELS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinishedRun:
    """One attempt of a run with all its spans, built only from its records, so that every process builds the same value.

    Attributes:
        request_id: the request that started the attempt. The order of requests decides which of a video's runs is the latest.
        started_at: the first ``span_taken`` of the attempt; ``completed_at``: the last ``span_done`` that counted.
        processing_time_seconds: the time between them.
        gpu_seconds: time on the device, summed over the spans that counted.
        provenance: everything the result depends on (checkpoint's SHA-256, precision, device, versions, ...).
        probabilities: (pairs, 2, 5) float32; pair; forward, backward; labels in the order of ``core.types.Label``.
        pair_milliseconds: (pairs,) float64, each pair's share of its span's time.

    Raises:
        ValueError: inconsistent shapes, probabilities outside 0..1 or not finite, or times without a time zone.
    """

    run_id: UUID
    attempt: int
    request_id: UUID
    tenant_id: UUID
    video_id: UUID
    cropped_frames_version: int
    model_version: str
    model_checkpoint_path: str
    started_at: datetime
    completed_at: datetime
    processing_time_seconds: float
    gpu_seconds: float
    provenance: Mapping[str, str]
    probabilities: npt.NDArray[np.float32]
    pair_milliseconds: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = self.probabilities.shape
        if shape[0] < 1 or shape[1:] != (2, len(LABELS)) or self.probabilities.dtype != np.float32:
            actual = f"{self.probabilities.dtype} {shape}"
            raise ValueError(
                f"run {self.run_id}: probabilities are {actual}; expected float32 (pairs, 2, {len(LABELS)}) of at least one pair"
            )
        if not bool(((self.probabilities >= 0) & (self.probabilities <= 1)).all()):  # also false for NaN
            raise ValueError(f"run {self.run_id}: a probability is not finite or not within 0..1")
        if self.pair_milliseconds.shape != shape[:1]:
            raise ValueError(f"run {self.run_id}: pair_milliseconds has shape {self.pair_milliseconds.shape}; expected {shape[:1]}")
        for name, moment in (("started_at", self.started_at), ("completed_at", self.completed_at)):
            if moment.tzinfo is None:
                raise ValueError(f"run {self.run_id}: {name} {moment.isoformat()} has no time zone")

    @property
    def pairs(self) -> int:
        return int(self.probabilities.shape[0])


@dataclass(frozen=True, slots=True)
class StoredRun:
    """Where a run database is stored, and what was read back from there.

    Attributes:
        attempt: the attempt of the stored file; higher than the run's own if a later attempt was found.
        adopted: whether the object existed already and was not written again.
    """

    storage_key: str
    size_bytes: int
    sha256: str
    attempt: int
    adopted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """The row of a finished run. It counts only if the object under ``storage_key`` exists.

    Rows of the old service have no ``sha256`` and no ``request_id``, and their ``run_id`` need not be a UUID.
    """

    id: UUID
    run_id: str
    tenant_id: UUID
    video_id: UUID
    cropped_frames_version: int
    model_version: str
    model_checkpoint_path: str | None
    storage_key: str
    size_bytes: int | None
    sha256: str | None
    total_pairs: int
    processing_time_seconds: float | None
    started_at: datetime
    completed_at: datetime
    request_id: UUID | None
