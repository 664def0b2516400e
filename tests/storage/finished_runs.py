"""Makes finished runs for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np

from core.runs import FinishedRun


def finished_run(pairs: int = 7, seed: int = 0, **changes: Any) -> FinishedRun:
    """Make a run with new ids, whose numbers follow from ``seed``."""
    rng = np.random.default_rng(seed)
    began = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    values: dict[str, Any] = {
        "run_id": uuid4(),
        "attempt": 1,
        "request_id": uuid4(),
        "tenant_id": uuid4(),
        "video_id": uuid4(),
        "cropped_frames_version": 3,
        "model_version": "builtin-0123abcd",
        "model_checkpoint_path": "models/caption_frame_extents/builtin-0123abcd/model.safetensors",
        "started_at": began,
        "completed_at": began + timedelta(seconds=61.25),
        "processing_time_seconds": 61.25,
        "gpu_seconds": 12.5,
        "provenance": {"precision": "float32", "device": "cpu", "checkpoint_sha256": "ab" * 32},
        "probabilities": rng.dirichlet(np.full(5, 0.3), size=(pairs, 2)).astype(np.float32),
        "pair_milliseconds": rng.uniform(1, 2, size=pairs),
    }
    return FinishedRun(**values | changes)


def fixed_run(pairs: int = 7, **changes: Any) -> FinishedRun:
    """Make a run that is the same each time."""
    ids = {name: UUID(int=number) for number, name in enumerate(("run_id", "request_id", "tenant_id", "video_id"), start=1)}
    return finished_run(pairs, **ids | changes)
