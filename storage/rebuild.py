"""Reads the values of a run's rows back from its object, to restore lost rows."""

import hashlib
import re
from uuid import UUID

from core.errors import CorruptInputError
from core.runs import FinishedRun, StoredRun
from storage.run_db_reader import RunDatabase, read_run_db

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_FIELDS = {
    "tenant_id": _UUID,
    "video_id": _UUID,
    "version": "[0-9]+",
    "model_version_8": "[^/]{1,8}",
    "run_id": "[0-9a-f-]{8,36}",
    "run_id_8": "[0-9a-f]{8}",
}

_IDS = ("tenant_id", "video_id")
"""Ids in a run database's provenance for which a row has columns."""

NO_REQUEST = UUID(int=0)
"""The request id of runs of the former service, which stored none. Such a run counts as the earliest."""


class RunKeys:
    """Recognises the keys of run databases by their template, including those of the former service (``run-{run_id[:8]}``)."""

    def __init__(self, template: str) -> None:
        parts = re.split(r"\{(\w+)\}", template)
        texts = [re.escape(part) if place % 2 == 0 else f"(?P<{part}>{_FIELDS[part]})" for place, part in enumerate(parts)]
        self._pattern = re.compile("".join(texts))
        self.prefix = parts[0]
        """The prefix of the keys of all run databases."""

    def ids(self, key: str) -> tuple[UUID, UUID] | None:
        """Return tenant and video; None for any other key."""
        match = self._pattern.fullmatch(key)
        return None if match is None else (UUID(match["tenant_id"]), UUID(match["video_id"]))


def read_finished_run(data: bytes, key: str, tenant_id: UUID, video_id: UUID) -> tuple[FinishedRun, StoredRun]:
    """Read the values that were written to the rows when this run was finished.

    Raises:
        CorruptInputError: the file is damaged, or its video is not the one in its key.
    """
    run = read_run_db(data, key)
    inside = (run.provenance.get("tenant_id", str(tenant_id)), run.provenance.get("video_id", str(video_id)))
    if inside != (str(tenant_id), str(video_id)):
        raise CorruptInputError(f"{key} holds a run of tenant {inside[0]}, video {inside[1]}")
    return _finished(run, key, tenant_id, video_id), StoredRun(key, len(data), hashlib.sha256(data).hexdigest(), run.attempt, True)


def _finished(run: RunDatabase, key: str, tenant_id: UUID, video_id: UUID) -> FinishedRun:
    run_id = _uuid(run.run_id, "run id", key)
    request = run.provenance.get("request_id")
    return FinishedRun(
        run_id=run_id,
        attempt=run.attempt,
        request_id=_uuid(request, "request id", key) if request else NO_REQUEST,
        tenant_id=tenant_id,
        video_id=video_id,
        cropped_frames_version=run.cropped_frames_version or 1,
        model_version=run.model_version,
        model_checkpoint_path=run.model_checkpoint_path or "",
        started_at=run.started_at,
        completed_at=run.completed_at,
        processing_time_seconds=run.processing_time_seconds or 0.0,
        gpu_seconds=run.gpu_seconds if run.gpu_seconds is not None else run.processing_time_seconds or 0.0,
        provenance={name: value for name, value in run.provenance.items() if name not in _IDS},
        probabilities=run.probabilities,
        pair_milliseconds=run.pair_milliseconds,
    )


def _uuid(text: str, kind: str, key: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise CorruptInputError(f"{key}: {kind} {text[:50]!r} is not a UUID") from error
