"""Replays, from the command to the runs, with the service's processes killed in the middle."""

from uuid import UUID

import pytest
import pytest_asyncio

from tests.service.installation import Installation
from tests.service.models import push_model
from tests.service.terminal import Terminal
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = 34
VIDEOS = 6


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"EXTENTS_RATE_LIMIT_SECONDS": "0"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def terminal(service: Installation, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """Some videos with a finished run each; each video was requested twice."""
    service.processes.start("coordinator")
    service.processes.start("gpu")
    for _ in range(VIDEOS):
        video_id = await service.add(video(FRAMES))
        for name in ("one", "two"):
            await service.submit(video_id, FRAMES, event_id=name)
    for version in ("v2", "v3"):
        await push_model(service, version)
    await service.verify()
    return Terminal(service, tmp_path_factory.mktemp("terminal"))


def runs_of(service: Installation, model: str) -> list[tuple[UUID, str]]:
    """Return video and run of every completed event that is not a repetition."""
    bodies = [outcome.body for outcome in service.ledger.outcomes if outcome.name == "inference.completed"]
    return [(body["video_id"], body["run_id"]) for body in bodies if body["model_version"] == model and not body["deduplicated"]]


async def test_what_exists_is_not_sent_again(terminal: Terminal) -> None:
    """A plan with the runs' own model has nothing to send, however many records there are."""
    planned = await terminal.json("replay", "plan", "--name", "same")
    assert (planned["looked_at"], planned["videos"], planned["exist"], planned["items"]) == (2 * VIDEOS, VIDEOS, VIDEOS, 0)
    await terminal("replay", "start", "same", "--yes", status=1)


async def test_a_new_model_makes_one_run_of_each_video(terminal: Terminal, service: Installation) -> None:
    """Each video gets one run even if the replay's coordinator is killed in the middle, and each run names its replay."""
    planned = await terminal.json("replay", "plan", "--model", "v2", "--name", "new-model")
    assert (planned["items"], planned["pairs"]) == (VIDEOS, VIDEOS * (FRAMES - 1))
    await terminal("replay", "start", "new-model", "--in-flight", "2", "--yes")
    await service.ledger.until("a run of the replay", lambda: runs_of(service, "v2"))
    await service.processes.workers[0].killed()
    service.processes.start("coordinator")
    shown = await terminal.until("new-model", "completed")
    await service.verify()
    runs = set(runs_of(service, "v2"))
    assert len(runs) == len({video_id for video_id, _ in runs}) == VIDEOS
    assert shown["progress"]["completed"] == VIDEOS
    jobs = await terminal.json("jobs", "list", "--replay", "new-model")
    assert {job["run_id"] for job in jobs} == {run_id for _, run_id in runs}
    assert {job["priority"] for job in jobs} == {"low"}
    requests = [ref for o in service.ledger.outcomes if o.body["model_version"] == "v2" for ref in o.body["requests"]]
    assert {ref["replay_id"] for ref in requests} == {"new-model"}


async def test_the_same_window_by_another_name_makes_no_second_run(terminal: Terminal) -> None:
    """Records that a replay sent are left out, and their runs count as existing."""
    planned = await terminal.json("replay", "plan", "--model", "v2", "--name", "again")
    assert (planned["exist"], planned["items"]) == (VIDEOS, 0)
    assert planned["remarks"] == [f"{VIDEOS} records sent by a replay left out; the originals count instead"]


async def test_a_replay_stops_at_its_cost_and_continues_when_allowed(terminal: Terminal, service: Installation) -> None:
    """The replay pauses before a request would exceed the limit, with the reason; resumed with a higher limit, it completes."""
    tenant = str(service.tenant_id)  # other installations of these tests share the registry
    planned = await terminal.json("replay", "plan", "--lacking-model", "v3", "--tenant", tenant, "--name", "dear")
    each = planned["estimated_cost_usd"] / VIDEOS
    assert planned["items"] == VIDEOS
    await terminal("replay", "start", "dear", "--max-cost", str(each / 2), "--yes")
    shown = await terminal.until("dear", "paused")
    assert "--max-cost" in shown["reason"]
    assert shown["progress"]["waiting"] == VIDEOS
    await terminal("replay", "resume", "dear", "--max-cost", "100")
    await terminal.until("dear", "completed")


async def test_a_sample_goes_first(terminal: Terminal) -> None:
    """If a sample changed no more captions than allowed, the replay continues, and the status shows the sample."""
    await terminal("replay", "plan", "--force", "--model", "v3", "--name", "calm")
    await terminal("replay", "start", "calm", "--shadow", "2", "--max-change", "0", "--yes")
    shown = await terminal.until("calm", "completed")
    assert (shown["sample"]["compared"], shown["sample"]["change"]) == (2, 0.0)
    text = await terminal("replay", "status", "calm")
    assert "Sample: 0.0% of" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100


async def test_a_replay_is_paused_and_cancelled(terminal: Terminal) -> None:
    """A paused replay sends nothing, a cancelled one never does again, and the list shows the state of each."""
    await terminal("replay", "plan", "--force", "--model", "v3", "--name", "stopped")
    await terminal("replay", "start", "stopped", "--rate", "1", "--yes")
    await terminal("replay", "pause", "stopped")
    shown = await terminal.json("replay", "status", "stopped")
    assert shown["progress"]["waiting"] >= VIDEOS - 1
    await terminal("replay", "cancel", "stopped", "--yes")
    await terminal("replay", "resume", "stopped", status=1)
    listed = {row["replay_id"]: row["state"] for row in await terminal.json("replay", "list")}
    assert listed["stopped"] == "cancelled"
    assert listed["new-model"] == "completed"
