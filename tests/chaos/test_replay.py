"""A replay with coordinators, GPU workers and the terminal killed in the middle: one run for each video, whatever happens."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

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

MODEL = "v2"


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"EXTENTS_RATE_LIMIT_SECONDS": "0"}


async def test_each_video_gets_one_run_of_the_new_model(service: Installation, chaos: Chaos, report: Report, tmp_path: Path) -> None:
    """The model that the runs have makes none; a new one makes one of each video, also when everybody is killed now and then."""
    videos, records, kills = chaos.of(full=(200, 1000, 20), short=(8, 24, 2))

    async def extents(*arguments: str) -> str:
        done = await asyncio.to_thread(run_extents, *arguments, folder=tmp_path, env=service.processes.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    await push_model(service, MODEL)
    history = History(service.ledger)
    async with Fleet(service) as fleet, Load(service, chaos.rng) as load:
        fleet.start("coordinator", 2), fleet.start("gpu", 2)
        await fleet.settled()
        submitted = await load.publish(load.choose(videos))
        await service.settle()
        names = [outcome.body["video_id"] for outcome in service.ledger.outcomes]
        for number in range(records - videos):  # later records of the same videos
            item = submitted[number % videos]
            answered = next(o for o in service.ledger.outcomes if o.answers(item.published.request_id))
            await load.request(answered.body["video_id"], item.frame_count)
        await service.settle()
        same = json.loads(await extents("replay", "plan", "--name", "same", "--json"))
        planned = json.loads(await extents("replay", "plan", "--name", "new", "--model", MODEL, "--json"))
        await extents("replay", "start", "new", "--yes")
        watching = await asyncio.create_subprocess_exec(
            *command("replay", "status", "new", "--watch"),
            cwd=tmp_path,
            env=clean_environment(service.processes.environment),
            stderr=asyncio.subprocess.DEVNULL,
        )
        while True:
            await until_next_kill(fleet, chaos)
            if len({body["video_id"] for body in made_by(service)}) == planned["items"]:
                break
            if len(fleet.kills) < kills:
                if watching.returncode is None:
                    watching.kill()
                for role in ROLES:
                    fleet.kill(role, choose_victims(fleet, history, role, chaos))
        await watching.wait()
        await fleet.settled()
        await service.verify_at_rest()
        shown = json.loads(await extents("replay", "status", "new", "--json"))
    assert (same["looked_at"], same["exist"], same["items"]) == (records, videos, 0)
    assert (planned["looked_at"], planned["items"]) == (records, videos)
    runs = {body["run_id"] for body in made_by(service)}
    assert len(runs) == videos
    assert Counter(body["video_id"] for body in {body["run_id"]: body for body in made_by(service)}.values()) == Counter(set(names))
    assert shown["progress"]["failed"] + shown["progress"]["rejected"] == 0
    report.note(videos=videos, records=records, kills=len(fleet.kills), kills_of_gpu_workers=killed(fleet)["gpu"])


def made_by(service: Installation) -> list[dict[str, str]]:
    """Completed events of runs that were computed with the new model."""
    bodies = [dict(outcome.body) for outcome in service.ledger.outcomes if outcome.name == "inference.completed"]
    return [body for body in bodies if body["model_version"] == MODEL and not body["deduplicated"]]
