"""The topics: what each carries, who writes it and who reads it."""

from dataclasses import dataclass
from typing import Final

from core.settings import TopicSettings
from streams.topics import Topics, TopicSpec


@dataclass(frozen=True, slots=True)
class Channel:
    """What a topic carries, who writes it, and who reads it.

    Attributes:
        schema: name of the file in ``schemas/``; None if the value is another record's bytes.
        written_by, read_by: agents and commands; ``platform`` stands for everything that is not Extents.
    """

    topic: str
    schema: str | None
    key: str
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]
    about: str


CHANNELS: Final = (
    Channel("video.encoded", "video.encoded", "video_id", ("platform",), ("admit",), "A video's cropped frames are in the store."),
    Channel(
        "video.encoded.low",
        "video.encoded",
        "video_id",
        ("platform",),
        ("admit",),
        "The same for work that can wait: replays and backfills. Priority is always low.",
    ),
    Channel("inference.work.high", "inference.work", "run_id:span", ("admit", "infer"), ("infer",), "Spans to be predicted."),
    Channel(
        "inference.work.low",
        "inference.work",
        "run_id:span",
        ("admit", "infer"),
        ("infer",),
        "Low-priority spans: they wait while high-priority ones are pending.",
    ),
    Channel(
        "inference.results",
        "inference.results",
        "run_id",
        ("admit", "infer", "aggregate", "finish"),
        ("aggregate",),
        "The log of each run, from which its state is folded.",
    ),
    Channel(
        "inference.cancelled",
        "inference.cancelled",
        "run_id",
        ("aggregate", "finish"),
        ("infer",),
        "Cancelled attempts, and quarantined spans that may kill their workers.",
    ),
    Channel(
        "inference.completed",
        "inference.completed",
        "video_id",
        ("admit", "finish"),
        ("platform",),
        "A run has a result, stored as a run database.",
    ),
    Channel("inference.rejected", "inference.rejected", "video_id", ("admit",), ("platform",), "A request was rejected, and why."),
    Channel(
        "inference.failed", "inference.failed", "video_id", ("admit", "finish"), ("platform",), "A run ended without a result, and why."
    ),
    Channel(
        "inference.workers",
        "inference.workers",
        "instance",
        ("coordinator", "infer"),
        ("coordinator", "platform"),
        "Heartbeats: the state of each worker process. The last heartbeat of each is kept.",
    ),
    Channel(
        "inference.dead-letter",
        None,
        "as the original",
        ("admit", "infer", "aggregate", "finish"),
        ("platform",),
        "Records given up permanently: the original key, bytes and headers, plus headers with origin and reason.",
    ),
)


def default_specs() -> dict[str, TopicSpec]:
    """Partitions and retention by topic, from the settings' defaults and not from the environment."""
    return {spec.name: spec for spec in Topics(TopicSettings.model_construct()).specs()}
