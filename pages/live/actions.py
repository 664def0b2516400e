"""What an operator may change from the page. Each action is recorded in the audit table before it is carried out."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import UUID

from aiohttp import web

from core.errors import MissingObjectError, PermanentError
from pages.live.brokers import Brokers
from pages.live.rendering import required_session, uuid_of
from pages.live.sessions import Session
from pages.live.snapshot import Watcher
from storage.listings import Row
from storage.replays import ACTIVE, NOT_ENDED, Replays


class RefusedActionError(PermanentError):
    """The action does not fit the current state, or its form has a wrong value."""


@dataclass(frozen=True, slots=True)
class Actions:
    """Handlers of the forms. Each redirects to a page that shows the change."""

    replays: Replays
    brokers: Brokers
    watcher: Watcher
    root: str

    async def acknowledge(self, request: web.Request) -> web.StreamResponse:
        """Mark a rejection as dealt with. One that is acknowledged already stays as it is."""
        await acknowledge_rejection(self.replays, required_session(request), uuid_of(request, "rejection_id"))
        await self._back("#rejections")

    async def redrive(self, request: web.Request) -> web.StreamResponse:
        letter = _letter(request)
        await self._audit(request, "letter.redriven", letter)
        await self.brokers.redrive(letter)
        await self._back("#letters")

    async def discard(self, request: web.Request) -> web.StreamResponse:
        letter = _letter(request)
        await self._audit(request, "letter.discarded", letter)
        await self.brokers.discard(letter, f"on the live page, by {_who(request)}")
        await self._back("#letters")

    async def pause(self, request: web.Request) -> web.StreamResponse:
        replay = await self._replay(request, ACTIVE)
        await self._audit(request, "replay.paused", replay["replay_id"])
        await self.replays.pause(replay["replay_id"], f"paused on the live page by {_who(request)}")
        await self._back(f"replays/{replay['replay_id']}")

    async def resume(self, request: web.Request) -> web.StreamResponse:
        """Continue a paused replay. A budget or a rate in the form replaces the former one."""
        replay = await self._replay(request, ("paused",))
        form = await request.post()
        limits: dict[str, Any] = {}
        for name, kind in (("max_cost_usd", float), ("rate_per_minute", int)):
            text = str(form.get(name, "")).strip()
            if text:
                limits[name] = _positive(text, kind, name)
        await self._audit(request, "replay.resumed", replay["replay_id"])
        await self.replays.resume(replay, **limits)
        await self._back(f"replays/{replay['replay_id']}")

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        replay = await self._replay(request, NOT_ENDED)
        await self._audit(request, "replay.cancelled", replay["replay_id"])
        await self.replays.cancel(replay["replay_id"], f"cancelled on the live page by {_who(request)}")
        await self._back(f"replays/{replay['replay_id']}")

    async def _replay(self, request: web.Request, needed: tuple[str, ...]) -> Row:
        name = request.match_info["replay_id"]
        replay = await self.replays.replay(name)
        if replay is None:
            raise MissingObjectError(f"There is no replay {name}.")
        if replay["state"] not in needed:
            raise RefusedActionError(f"Replay {name} is {replay['state']}; this needs one that is {' or '.join(needed)}.")
        return replay

    async def _audit(self, request: web.Request, action: str, target: str) -> None:
        await audit(self.replays, required_session(request), action, target)

    async def _back(self, place: str) -> NoReturn:
        await self.watcher.refresh(everything=True)
        raise web.HTTPSeeOther(f"{self.root}/{place}")


async def acknowledge_rejection(replays: Replays, session: Session, rejection_id: UUID) -> None:
    """Raises:
    MissingObjectError: the rejection does not exist.
    """
    row = await replays.rejection(str(rejection_id))
    if row is None:
        raise MissingObjectError(f"There is no rejection {rejection_id}.")
    if row["acknowledged"]:
        return
    await audit(replays, session, "rejection.acknowledged", str(rejection_id))
    values = {"acknowledged": True, "acknowledged_at": datetime.now(UTC).isoformat()}
    await replays.update("rejections", values, {"id": str(rejection_id)})


async def audit(replays: Replays, session: Session, action: str, target: str) -> None:
    row = {"session_id": session.id, "role": session.role.value, "name": session.name or None, "action": action, "target": target}
    await replays.insert("page_actions", [row])


def _letter(request: web.Request) -> str:
    return f"{request.match_info['partition']}/{request.match_info['offset']}"


def _who(request: web.Request) -> str:
    return required_session(request).name or "an operator"


def _positive(text: str, kind: type, name: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value < 1e9:
        raise RefusedActionError(f"{name.replace('_', ' ')}: {text!r}; expected a number above 0.")
    return value
