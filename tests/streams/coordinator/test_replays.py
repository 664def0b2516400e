"""A replay that cannot continue does not stop one that can."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import ConfigurationError, TransientError
from core.settings import AdmissionSettings
from streams.coordinator.replays import ReplayRunner
from streams.runtime.assignment import Assignment
from streams.runtime.circuit_breaker import CircuitBreaker

DONE = dict.fromkeys(("items", "waiting", "undecided", "unfinished", "sampled"), 0)


class Replays:
    """Two running replays, and the changes to them; the database fails to return the progress of the first."""

    def __init__(self, error: Exception) -> None:
        self.changed: dict[str, tuple[str, Any]] = {}
        self._error = error

    async def claim(self, owner: str, lease_seconds: float) -> list[dict[str, Any]]:
        about = {"state": "running", "sample_size": 0}
        return [{"replay_id": name, **about} for name in ("broken", "sound")]

    async def replay_progress(self, replay_id: str) -> dict[str, Any]:
        if replay_id == "broken":
            raise self._error
        return DONE

    async def change(self, replay_id: str, before: list[str], state: str, **values: Any) -> bool:
        self.changed[replay_id] = (state, values.get("reason"))
        return True


async def reachable() -> None:
    """The database responds to the probe."""


def runner(replays: Replays, probe: Callable[[], Awaitable[None]] = reachable) -> ReplayRunner:
    nothing = SimpleNamespace()
    return ReplayRunner(nothing, nothing, replays, nothing, CircuitBreaker("database", probe), AdmissionSettings(_env_file=None))


async def test_a_replay_with_an_unexpected_error_is_paused():
    """The paused replay names the error, the process continues, and the next replay is carried out."""
    replays = Replays(ValueError("its model's name is none"))
    await runner(replays)._round(Assignment(1))
    assert replays.changed["sound"] == ("completed", None)
    state, reason = replays.changed["broken"]
    assert state == "paused"
    assert "its model's name is none" in reason


async def test_wrong_settings_end_the_process():
    """Wrong settings end the process, and no replay is paused because of them."""
    replays = Replays(ConfigurationError("SUPABASE_URL is wrong"))
    with pytest.raises(ConfigurationError):
        await runner(replays)._round(Assignment(1))
    assert replays.changed == {}


async def test_only_the_probe_goes_out_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch):
    """During an outage the runner sends no request of its own; afterwards it carries out the replays."""
    monkeypatch.setattr("streams.runtime.circuit_breaker.FIRST_PAUSE_SECONDS", 0.01)
    sent: list[str] = []

    class Away(Replays):
        async def claim(self, owner: str, lease_seconds: float) -> list[dict[str, Any]]:
            sent.append("claim")
            if "back" not in sent:
                raise TransientError("connection refused")
            return await super().claim(owner, lease_seconds)

    async def probe() -> None:
        sent.append("probe" if sent.count("probe") < 3 else "back")
        if "back" not in sent:
            raise TransientError("connection refused")

    replays = Away(ValueError("its model's name is none"))
    await runner(replays, probe)._round(Assignment(1))
    assert sent == ["claim", "probe", "probe", "probe", "back", "claim"]
    assert replays.changed["sound"] == ("completed", None)
