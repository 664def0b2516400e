"""Collects the requests of a replay: from the request topics, or from the registry."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from cli.shared.output import Report
from core.counts import counted
from core.settings import Settings
from storage.listings import Filter, Row
from storage.replays import Replays
from streams.kafka.brokers import require_topics
from streams.kafka.request_reader import RequestReader, Window
from streams.policy.replay_plan import ReplaySource, newest_of_each_video
from streams.topics import Topics

LACKING_A_CALL = 500


@dataclass(slots=True)
class Sources:
    """The chosen records, and how many were read. ``remarks`` say what was left out."""

    sources: list[ReplaySource]
    looked_at: int
    remarks: list[str]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which videos to send; an empty set means all."""

    tenants: frozenset[UUID]
    videos: frozenset[UUID]
    every_record: bool

    def of(self, sources: Iterable[ReplaySource]) -> list[ReplaySource]:
        chosen = [source for source in sources if self._covers(source)]
        return chosen if self.every_record else newest_of_each_video(chosen)

    def _covers(self, source: ReplaySource) -> bool:
        return (not self.tenants or source.tenant_id in self.tenants) and (not self.videos or source.video_id in self.videos)


async def from_topic(settings: Settings, window: Window, choice: Choice, report: Report) -> Sources:
    topics = Topics(settings.topics)
    await require_topics(settings.kafka, [topics.encoded, topics.encoded_low])
    reader = RequestReader(settings.kafka, topics, window)
    sources = [source async for source in reader.sources(report)]
    remarks = []
    if reader.replayed:
        remarks.append(f"{counted(reader.replayed, 'record')} sent by a replay left out; the originals count instead")
    if reader.unusable:
        remarks.append(f"{counted(reader.unusable, 'record')} left out: not a request")
    return Sources(choice.of(sources), reader.read, remarks)


async def lacking_model(replays: Replays, model: str, choice: Choice, report: Report) -> Sources:
    """Videos whose newest frames have no run of the model."""
    sources: list[ReplaySource] = []
    tenant = next(iter(choice.tenants)) if len(choice.tenants) == 1 else None
    last: str | None = None
    while True:
        arguments = {"model": model, "wanted_tenant": tenant and str(tenant), "after_video": last, "max_rows": LACKING_A_CALL}
        rows: list[Row] = await replays.call("videos_lacking_model", arguments)
        sources += [_source(row, f"registry/{row['video_id']}/{row['cropped_frames_version']}") for row in rows]
        report(len(sources), None)
        if len(rows) < LACKING_A_CALL:
            return Sources(choice.of(sources), len(sources), [])
        last = rows[-1]["video_id"]


async def rejected(replays: Replays, chosen: Filter, choice: Choice, report: Report) -> Sources:
    """Videos whose requests were rejected with one type. Requests without a usable frame count are left out."""
    sources: list[ReplaySource] = []
    unusable = looked_at = 0
    async for row in replays.rejections(chosen):
        looked_at += 1
        if row["frame_count"] is None or row["frame_count"] < 2 or row["cropped_frames_version"] is None:
            unusable += 1
        else:
            sources.append(_source(row, f"rejections/{row['id']}", order=-looked_at))
        report(looked_at, None)
    return Sources(choice.of(sources), looked_at, [f"{counted(unusable, 'rejection')} without a usable request"] if unusable else [])


def _source(row: Row, name: str, order: int = 0) -> ReplaySource:
    return ReplaySource(
        name=name,
        tenant_id=UUID(row["tenant_id"]),
        video_id=UUID(row["video_id"]),
        cropped_frames_version=row["cropped_frames_version"],
        frame_count=row["frame_count"],
        order=(order,),
    )
