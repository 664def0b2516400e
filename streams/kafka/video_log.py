"""A video's history from the brokers: the logs of its runs, and its dead letters."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from core.history import HistoryEntry
from core.settings import KafkaSettings
from streams.kafka.dead_letter_reader import DeadLetterReader
from streams.kafka.run_log_reader import read_run_logs
from streams.policy.log_history import describe
from streams.topics import Topics


async def read_video_log(
    kafka: KafkaSettings, topics: Topics, video: UUID, runs: Collection[str], since: datetime | None
) -> list[HistoryEntry]:
    """Return an entry for each record of the runs' logs, and for each dead letter of the runs or the video."""
    logged = await read_run_logs(kafka, topics, runs, since)
    entries = [HistoryEntry(each.at, "log", f"{each.partition}/{each.offset}: {describe(each.record)}") for each in logged]
    for letter in await DeadLetterReader(kafka, topics).about(video, runs):
        entries.append(HistoryEntry(letter.dead_lettered_at, "dead letter", f"{letter.id}: {letter.reason}, {letter.error}"))
    return entries
