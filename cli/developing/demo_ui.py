"""``extents demo --ui``: keeps the service running with its live page, and creates some examples to look at."""

import asyncio
import secrets
import signal
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from cli.operations.replays.plan import item_row
from core.settings import Settings
from devstack.part import Part
from devstack.ports import HOST
from storage.connect import open_replays, open_store
from storage.objects import ObjectStore
from streams.apps.live_page import ROOT
from streams.kafka.client import OutcomeReader, ReceivedOutcome, publish
from streams.policy.replay_plan import ReplaySource, plan_items
from streams.records import VideoEncoded
from streams.topics import Topics

REPLAY: Final = "once-more"
MAX_OBJECT_BYTES: Final = 64 * 1024 * 1024
TOO_MANY_FRAMES: Final = 250_000
BROKEN_CHUNK: Final = "modulo_1/chunk_0000000001.webm"


@dataclass(frozen=True, slots=True)
class DemoPage:
    """The live page of a demo, with a random token."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(12))

    @property
    def environment(self) -> dict[str, str]:
        """Settings of the coordinator, which serves the page."""
        return {"EXTENTS_PAGE_OPERATOR_TOKEN": self.token}

    def address(self, coordinator: Part) -> str:
        return f"http://{HOST}:{coordinator.environment['EXTENTS_HTTP_PORT']}{ROOT}/"


async def create_examples(settings: Settings, topics: Topics, outcome: ReceivedOutcome) -> None:
    """Create a rejection, a failed run with a dead letter, and a paused replay of a copy of the film."""
    body = outcome.body
    tenant, video, frames = uuid.UUID(body["tenant_id"]), uuid.UUID(body["video_id"]), body["pairs"] + 1
    copy, broken = uuid.uuid4(), uuid.uuid4()

    def event(of: uuid.UUID, frame_count: int) -> VideoEncoded:
        return VideoEncoded(tenant_id=tenant, video_id=of, cropped_frames_version=1, frame_count=frame_count)

    async with open_store(settings.wasabi) as store, OutcomeReader(settings.kafka, topics) as outcomes:
        for target in (copy, broken):
            await _copy(store, f"videos/{tenant}/{video}/", f"videos/{tenant}/{target}/", BROKEN_CHUNK if target == broken else None)
        requests = [
            await publish(settings.kafka, topics, event(video, TOO_MANY_FRAMES)),
            await publish(settings.kafka, topics, event(broken, frames)),
        ]
        wanted = {request.request_id for request in requests}
        async for answer in outcomes:
            wanted -= {request for request in wanted if answer.answers(request)}
            if not wanted:
                break
    source = ReplaySource(name="demo", tenant_id=tenant, video_id=copy, cropped_frames_version=1, frame_count=frames)
    await _plan_replay(settings, source, body["model_version"])


async def _plan_replay(settings: Settings, source: ReplaySource, model: str) -> None:
    (item,) = plan_items(REPLAY, [source], 0.0001)
    row = item_row(item)
    replay = {"replay_id": REPLAY, "state": "paused", "reason": "made by the demo: resume it, and the film runs once more"}
    async with open_replays(settings.supabase) as replays:
        await replays.create({**replay, "source": {"items": 1}, "model_version": model, "created_by": "extents demo"}, [row])


async def until_interrupted(while_alive: Callable[[Awaitable[object]], Awaitable[object]]) -> None:
    """Wait for Ctrl-C or SIGTERM.

    Args:
        while_alive: awaits something while the workers are alive.
    """
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        await while_alive(ended.wait())
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _copy(store: ObjectStore, source: str, target: str, broken: str | None) -> None:
    """Copy a video's objects. Replace the chunk that ``broken`` names, if any, with bytes that are not a film."""
    async for key in store.list_keys(source):
        if "/cropped_frames_" in key or key.endswith(("layout.db", "layout.db.gz")):
            data = b"this is no film" if broken is not None and key.endswith(broken) else await store.get(key, MAX_OBJECT_BYTES)
            await store.put(target + key.removeprefix(source), data)
