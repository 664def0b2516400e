"""The live page over this installation's database, store and brokers; the coordinator mounts it, ``extents ui`` serves it alone."""

from contextlib import AsyncExitStack
from typing import Final, Self

from aiohttp import web

from core.settings import Settings
from pages.live.site import Access, Site
from pages.live.snapshot import Letter, WorkerGroup
from storage.connect import open_listings, open_store
from streams.kafka.group_state import look_at_groups
from streams.kafka.waiting_letters import WaitingLetters
from streams.topics import COORDINATOR, GPU_WORKER, Topics

ROOT: Final = "/ui"


class LivePage:
    """An async context manager: ``application`` works while it is entered."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._settings, self._topics = settings, Topics(settings.topics)
        self._listings, self._store = open_listings(settings.supabase), open_store(settings.wasabi)
        self._letters: WaitingLetters | None = None
        self._opened = AsyncExitStack()
        self.application: Final[web.Application] = Site(access, self._listings, self._store, self, ROOT).application()

    async def __aenter__(self) -> Self:
        await self._opened.enter_async_context(self._listings)
        await self._opened.enter_async_context(self._store)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._opened.aclose()

    async def groups(self) -> list[WorkerGroup]:
        """Both roles' consumer groups."""
        topics = self._topics
        by_group = {
            topics.group(COORDINATOR): [topics.encoded, topics.encoded_low, topics.results],
            topics.group(GPU_WORKER): [topics.work_high, topics.work_low],
        }
        states = await look_at_groups(self._settings.kafka, {name: list(names) for name, names in by_group.items()})
        return [WorkerGroup(each.group, each.state, tuple(member.host for member in each.members), each.lag) for each in states]

    async def letters(self) -> list[Letter]:
        """Those that nobody has handled, oldest first."""
        if self._letters is None:
            self._letters = await self._opened.enter_async_context(WaitingLetters(self._settings.kafka, self._topics))
        waiting = await self._letters.letters()
        return [Letter(each.id, each.topic, each.reason, each.error, each.run_id, each.dead_lettered_at) for each in waiting]


def access_of(settings: Settings) -> Access | None:
    """The tokens that are set; None where neither is, and so there is no page."""
    viewer, operator = settings.page.viewer_token, settings.page.operator_token
    if viewer is None and operator is None:
        return None
    return Access(
        viewer_token=viewer.get_secret_value() if viewer else None,
        operator_token=operator.get_secret_value() if operator else None,
    )
