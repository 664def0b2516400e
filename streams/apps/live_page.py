"""The live page of this installation's database, store and brokers. The coordinator mounts it; ``extents ui`` serves only it."""

from collections.abc import Collection, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import datetime
from typing import Final, Self
from uuid import UUID

from aiohttp import web
from aiokafka.errors import KafkaError

from core.errors import MissingObjectError, TransientError
from core.history import HistoryEntry, RunLog
from core.settings import Settings
from core.workers import SeenWorker
from pages.live.brokers import Letter, WorkerGroup
from pages.live.site import Access, Site
from storage.connect import open_replays, open_store
from streams.kafka.dead_letter_reader import DISCARDED, DeadLetterReader
from streams.kafka.group_state import look_at_groups
from streams.kafka.heartbeat_reader import HeartbeatReader
from streams.kafka.redriving import carry_out
from streams.kafka.run_log_reader import read_run_logs
from streams.kafka.video_log import read_video_log
from streams.kafka.waiting_letters import WaitingLetters
from streams.policy.log_history import run_log
from streams.policy.redrive import plan
from streams.policy.stored_letters import Selection, StoredLetter
from streams.topics import COORDINATOR, GPU_WORKER, Topics

ROOT: Final = "/ui"


class LivePage:
    """An async context manager: ``application`` works while it is entered."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._replays, self._store = open_replays(settings.supabase), open_store(settings.wasabi)
        self._brokers = KafkaBrokers(settings)
        site = Site(access, self._replays, self._store, self._brokers, settings.admission, ROOT)
        self._opened = AsyncExitStack()
        self.application: Final[web.Application] = site.application()

    async def __aenter__(self) -> Self:
        await self._opened.enter_async_context(self._replays)
        await self._opened.enter_async_context(self._store)
        self._opened.push_async_callback(self._brokers.close)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._opened.aclose()


class KafkaBrokers:
    """Reads from Kafka, and sends to it, for the page."""

    def __init__(self, settings: Settings) -> None:
        self._kafka, self._topics = settings.kafka, Topics(settings.topics)
        self._waiting: WaitingLetters | None = None
        self._heartbeats: HeartbeatReader | None = None
        self._opened = AsyncExitStack()

    async def close(self) -> None:
        await self._opened.aclose()

    async def groups(self) -> list[WorkerGroup]:
        """Return the consumer groups of both roles."""
        topics = self._topics
        by_group = {
            topics.group(COORDINATOR): [topics.encoded, topics.encoded_low, topics.results],
            topics.group(GPU_WORKER): [topics.work_high, topics.work_low],
        }
        states = await look_at_groups(self._kafka, {name: list(names) for name, names in by_group.items()})
        return [WorkerGroup(each.group, each.state, tuple(member.host for member in each.members), each.lag) for each in states]

    async def workers(self) -> list[SeenWorker]:
        if self._heartbeats is None:
            self._heartbeats = await self._opened.enter_async_context(HeartbeatReader(self._kafka, self._topics))
        return await self._heartbeats.workers()

    async def letters(self) -> list[Letter]:
        """Return the letters that nobody has handled, oldest first."""
        if self._waiting is None:
            self._waiting = await self._opened.enter_async_context(WaitingLetters(self._kafka, self._topics))
        waiting = await self._waiting.letters()
        return [Letter(each.id, each.topic, each.reason, each.error, each.run_id, each.dead_lettered_at) for each in waiting]

    async def video_log(self, video: UUID, runs: Collection[str], since: datetime | None) -> list[HistoryEntry]:
        with self._answering():
            return await read_video_log(self._kafka, self._topics, video, runs, since)

    async def run_log(self, run_id: str, since: datetime, until: datetime | None) -> RunLog:
        with self._answering():
            records = await read_run_logs(self._kafka, self._topics, [run_id], since, until)
        return run_log([(each.at, each.record) for each in records])

    async def redrive(self, letter_id: str) -> None:
        with self._answering():
            await carry_out(self._kafka, self._topics, plan([await self._letter(letter_id)], self._topics))

    async def discard(self, letter_id: str, note: str) -> None:
        with self._answering():
            letter = await self._letter(letter_id)
            await DeadLetterReader(self._kafka, self._topics).acknowledge([letter], DISCARDED, note)

    async def _letter(self, letter_id: str) -> StoredLetter:
        letters = await DeadLetterReader(self._kafka, self._topics).read(Selection(ids=(letter_id,)))
        if not letters:
            raise MissingObjectError(f"Dead letter {letter_id} no longer exists, or has already been handled.")
        return letters[0]

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except KafkaError as error:
            raise TransientError(f"brokers at {self._kafka.bootstrap_servers}: {error!r}") from error


def access_of(settings: Settings) -> Access | None:
    """Return the tokens that are set; None if there is neither, and therefore no page."""
    viewer, operator = settings.page.viewer_token, settings.page.operator_token
    if viewer is None and operator is None:
        return None
    return Access(
        viewer_token=viewer.get_secret_value() if viewer else None,
        operator_token=operator.get_secret_value() if operator else None,
    )
