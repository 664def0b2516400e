"""A video's history from the database and the store: its entries, and a summary in one sentence."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from core.errors import MissingObjectError
from core.history import HistoryEntry
from core.moments import parse_moment
from core.rejection_settings import setting_of
from core.settings import AdmissionSettings
from core.sizes import size
from core.types import FRAMES_PER_SECOND
from storage.listings import Filter, Listings, Row, run_state
from storage.objects import ObjectStore

_DECISIONS: Final = {
    "run": "a run was started",
    "join": "joined a run in progress",
    "found": "a finished run was found",
    "rejected": "rejected",
}


@dataclass(frozen=True, slots=True)
class StoredHistory:
    """A video's history, without the parts that only the brokers have: the logs of its runs, and its dead letters.

    Attributes:
        runs: ids of the runs whose logs have the details.
        since: when the first of these runs was requested; None without a run.
        sentence: the summary.
    """

    entries: tuple[HistoryEntry, ...]
    runs: frozenset[str]
    since: datetime | None
    sentence: str


async def read_history(listings: Listings, store: ObjectStore, admission: AdmissionSettings, video: UUID) -> StoredHistory:
    """Read every request, rejection, job and run of a video, and check that the runs' objects are in the store."""
    chosen = Filter(video_id=video)
    requests = [row async for row in listings.requests(chosen)]
    jobs = [row async for row in listings.jobs(chosen)]
    runs = [row async for row in listings.run_history(chosen)]
    rejections = [row async for row in listings.rejections(chosen)]
    requested_at = {row["request_id"]: parse_moment(row["created_at"]) for row in requests}
    entries = [*map(_requested, requests), *(_rejected(row, admission, requested_at) for row in rejections), *map(_ended, jobs)]
    entries += [entry async for entry in _stored(store, runs)]
    named = [row for row in jobs if row["run_id"]]
    return StoredHistory(
        tuple(entries),
        frozenset(row["run_id"] for row in named),
        min((parse_moment(row["created_at"]) for row in named if row["created_at"]), default=None),
        sentence(video, requests, jobs, runs, rejections),
    )


def sentence(video: UUID, requests: Sequence[Row], jobs: Sequence[Row], runs: Sequence[Row], rejections: Sequence[Row]) -> str:
    """Summarize a video's history, from the latest event. Each list has the newest row first."""
    if not (requests or jobs or runs or rejections):
        return f"The service has never seen video {video}: no request was decided, and there is no job or run."
    unfinished = [row for row in jobs if row["status"] in ("queued", "running") and row["run_id"]]
    if unfinished:
        row = unfinished[0]
        return f"Run {row['run_id'][:8]} is {row['status']}, with {row['pairs_done']} of {row['pairs_total']} pairs done."
    rejected_last = requests[0]["decision"] == "rejected" if requests else not (jobs or runs)
    if rejected_last and rejections:
        return f"The last request was rejected: {rejections[0]['rejection_message']}."
    if jobs and jobs[0]["status"] == "failed":
        return f"The last run failed: {jobs[0]['error_message']}."
    present = [row for row in runs if run_state(row) == "latest"]
    if present:
        row = present[0]
        seconds = (row["total_pairs"] + 1) / FRAMES_PER_SECOND
        return f"Run {row['run_id'][:8]} of model {row['model_version']} has the result for {seconds:.0f} s of film."
    return "Its runs were deleted, and there is no newer one."


def _requested(row: Row) -> HistoryEntry:
    place = f"{row['source_topic']}/{row['source_partition']}/{row['source_offset']}"
    run = f", run {row['run_id'][:8]}, attempt {row['attempt']}" if row["decision"] in ("run", "join") else ""
    decision = _DECISIONS[row["decision"]]
    return HistoryEntry(parse_moment(row["created_at"]), "request", f"{place}, {row['priority']} priority: {decision}{run}")


def _rejected(row: Row, admission: AdmissionSettings, requested_at: Mapping[str, datetime]) -> HistoryEntry:
    """Return a rejection's entry, never earlier than its request's: the rejection's row is written just before the request's."""
    setting = setting_of(row["rejection_type"], row["rejection_message"], admission)
    detail = f"{row['rejection_type']}: {row['rejection_message']}" + (f" [{setting}]" if setting else "")
    at = parse_moment(row["created_at"])
    return HistoryEntry(max(at, requested_at.get(row["id"], at)), "rejection", detail)


def _ended(row: Row) -> HistoryEntry:
    name = f"run {row['run_id'][:8]}, attempt {row['attempt']}" if row["run_id"] else "of the former service"
    error = f": {row['error_message']}" if row["error_message"] else ""
    done = f", {row['pairs_done']}/{row['pairs_total']} pairs" if row["pairs_total"] else ""
    at = row["completed_at"] or row["started_at"] or row["created_at"]
    return HistoryEntry(parse_moment(at), "job", f"{name}: {row['status']}{done}{error}")


async def _stored(store: ObjectStore, runs: Sequence[Row]) -> AsyncIterator[HistoryEntry]:
    for row in runs:
        try:
            present = f"{size((await store.head(row['wasabi_storage_key'])).size_bytes)} in the store"
        except MissingObjectError:
            present = "NOT in the store"
        detail = f"{row['run_id'][:8]}, {row['model_version']}, {run_state(row)}: {row['wasabi_storage_key']}, {present}"
        yield HistoryEntry(parse_moment(row["completed_at"]), "run", detail)
