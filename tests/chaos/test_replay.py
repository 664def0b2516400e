"""A replay with coordinators, GPU workers and the terminal killed in the middle: one run for each video, whatever happens."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from tests.chaos.figures import Report
from tests.chaos.fleet import ROLES, Fleet
from tests.chaos.history import History
from tests.chaos.load import Load
from tests.chaos.scale import Chaos
from tests.chaos.test_kills import choose_victims, killed, until_next_kill
from tests.cli.processes import clean_environment, command, run_extents
from tests.service.installation import Installation
from tests.service.models import push_model

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL: Final = "v2"
REPLAY: Final = "chaos-new"
CANCELLED: Final = "chaos-cancelled"
FRAMES: Final = 20
"""Frames of each video: the test is about the number of runs, and pairs take time."""

MONEY: Final = 0.35
"""Share of the cost of the same videos, so that the replay stops somewhere between its beginning and its end."""

QUIET_SECONDS: Final = 5.0
"""A paused replay sends nothing for this long, in which a running one would send several requests a second."""


MOST_STEPS: Final = 1000
"""On average, as a share of a second."""


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"EXTENTS_RATE_LIMIT_SECONDS": "0"}


@dataclass(slots=True)
class Killing:
    """Kills workers of both roles and the watching terminal while a replay runs."""

    service: Installation
    fleet: Fleet
    chaos: Chaos
    kills: int
    history: History
    watching: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def until(self, awaited: str, condition: Callable[[], bool], kills: int = 0) -> None:
        """Wait for a condition and kill meanwhile, until there were this many kills."""
        steps = 0
        while not condition():
            steps += 1
            assert steps < MOST_STEPS, f"waited without success for {awaited}\n{self.service.processes.tails()}"
            await until_next_kill(self.fleet, self.chaos)
            if len(self.fleet.kills) < kills:
                for process in self.watching:
                    if process.returncode is None:
                        process.kill()
                for role in ROLES:
                    self.fleet.kill(role, choose_victims(self.fleet, self.history, role, self.chaos))


async def test_each_video_gets_one_run_of_the_new_model(service: Installation, chaos: Chaos, report: Report, tmp_path: Path) -> None:
    """A replay with the runs' model makes no run; one with a new model makes one for each video, despite kills, spent budget and pauses."""
    videos, records, kills, in_flight = chaos.of(full=(200, 1000, 20, 5), short=(20, 40, 2, 1))

    async def extents(*arguments: str) -> str:
        done = await asyncio.to_thread(run_extents, *arguments, folder=tmp_path, env=service.processes.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def status(replay: str) -> Any:
        return json.loads(await extents("replay", "status", replay, "--json"))

    await push_model(service, MODEL)
    async with Fleet(service) as fleet, Load(service, chaos.rng) as load:
        killing = Killing(service, fleet, chaos, kills, History(service.ledger))
        fleet.start("coordinator", 2), fleet.start("gpu", 2)
        await fleet.settled()
        submitted = await load.publish([FRAMES] * videos)
        await service.settle()
        names = [outcome.body["video_id"] for outcome in service.ledger.outcomes]
        first_cost = sum(outcome.body["estimated_cost_usd"] for outcome in service.ledger.outcomes)
        for number in range(records - videos):  # later records of the same videos
            await load.request(names[number % videos], FRAMES)
        await service.settle()
        same = json.loads(await extents("replay", "plan", "--name", "chaos-same", "--json"))
        planned = json.loads(await extents("replay", "plan", "--name", REPLAY, "--model", MODEL, "--json"))
        limit = min(first_cost, planned["estimated_cost_usd"]) * MONEY  # on a busy machine the first runs are expensive
        await extents("replay", "start", REPLAY, "--max-cost", str(limit), "--in-flight", str(in_flight), "--yes")
        killing.watching.append(
            await asyncio.create_subprocess_exec(
                *command("replay", "status", REPLAY, "--watch"),
                cwd=tmp_path,
                env=clean_environment(service.processes.environment),
                stderr=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
            )
        )
        await killing.until("the end of the money", lambda: is_paused(service, REPLAY), kills // 2)
        dear = await status(REPLAY)
        await extents("replay", "resume", REPLAY, "--max-cost", "1000")
        await extents("replay", "pause", REPLAY)
        await killing.until("the end of what was sent", lambda: open_jobs(service) == 0)
        paused = await status(REPLAY)
        await service.ledger.read_on(QUIET_SECONDS)
        quiet = await status(REPLAY)
        await extents("replay", "resume", REPLAY)
        await killing.until("a run of each", lambda: state_of(service, REPLAY) == "completed", kills)
        shown = await status(REPLAY)
        await killing.watching[0].wait()
        await extents("replay", "plan", "--name", CANCELLED, "--model", MODEL, "--force")
        await extents("replay", "start", CANCELLED, "--rate", "1", "--yes")
        await extents("replay", "cancel", CANCELLED, "--yes")
        await fleet.settled()
        await service.verify_at_rest()
        cancelled = await status(CANCELLED)
    assert len(submitted) == videos
    assert (same["looked_at"], same["exist"], same["items"]) == (records, videos, 0)
    assert (planned["looked_at"], planned["items"]) == (records, videos)
    assert "--max-cost" in dear["reason"]
    assert dear["progress"]["waiting"] > 0
    assert paused["state"] == "paused"
    assert quiet["progress"]["waiting"] == paused["progress"]["waiting"], "it was sent although it was paused"
    runs = made_by(service)
    assert len(runs) == videos
    assert Counter(body["video_id"] for body in runs.values()) == Counter(set(names))
    assert shown["progress"]["failed"] + shown["progress"]["rejected"] == 0
    assert cancelled["state"] == "cancelled"
    assert cancelled["progress"]["waiting"] >= videos - 2, "at one a minute"
    report.note(
        videos=videos,
        records=records,
        kills=len(fleet.kills),
        kills_of_gpu_workers=killed(fleet)["gpu"],
        sent_when_the_money_was_spent=planned["items"] - dear["progress"]["waiting"],
        spent_usd=round(dear["spent_usd"], 6),
        limit_usd=round(limit, 6),
    )


def state_of(service: Installation, replay: str) -> str:
    with psycopg.connect(service.verifier.dsn) as connection:
        name = sql.Identifier(service.verifier.schema, "caption_frame_extents_inference_replays")
        row = connection.execute(sql.SQL("select state from {} where replay_id = %s").format(name), [replay]).fetchone()
    assert row is not None
    return str(row[0])


def is_paused(service: Installation, replay: str) -> bool:
    state = state_of(service, replay)
    assert state != "completed", "the replay ended before its limit"
    return state == "paused"


def open_jobs(service: Installation) -> int:
    """Count the unfinished runs."""
    with psycopg.connect(service.verifier.dsn) as connection:
        name = sql.Identifier(service.verifier.schema, "caption_frame_extents_inference_jobs")
        query = sql.SQL("select count(*) from {} where tenant_id = %s and status in ('queued', 'running')").format(name)
        row = connection.execute(query, [service.tenant_id]).fetchone()
    assert row is not None
    return int(row[0])


def made_by(service: Installation) -> dict[str, dict[str, Any]]:
    """Return the completed events of the replay's runs, by run."""
    bodies = [dict(outcome.body) for outcome in service.ledger.outcomes if outcome.name == "inference.completed"]
    computed = [body for body in bodies if body["model_version"] == MODEL and not body["deduplicated"]]
    return {body["run_id"]: body for body in computed if any(ref.get("replay_id") == REPLAY for ref in body["requests"])}
