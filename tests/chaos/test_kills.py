"""GPU workers and coordinators are killed at random while they work, and replaced: no video is lost or done twice."""

import statistics
import time
from collections.abc import Mapping
from typing import Final

import pytest

from streams.policy.run_log import MAX_SPAN_TAKES
from tests.chaos.figures import Report
from tests.chaos.fleet import ROLES, Disturbance, Fleet
from tests.chaos.history import History
from tests.chaos.load import Load, check_results
from tests.chaos.scale import Chaos
from tests.service.installation import Installation
from tests.service.processes import Role, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROGRESS: Final[dict[Role, tuple[str, ...]]] = {"gpu": ("span_done",), "coordinator": ("run_started", "run_finished")}
"""The records that show that a role has done something."""

MEAN_PAUSE_SECONDS: Final = 1.0


async def test_killed_at_random(service: Installation, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report) -> None:
    """Whichever process is killed and when, each video has one outcome as if nothing had happened; only work in progress is repeated."""
    kills, videos, in_flight = chaos.of(full=(100, 30, 8), short=(4, 6, 6))
    history = History(service.ledger)
    async with Fleet(service) as fleet, Load(service, chaos.rng) as load:
        fleet.start("coordinator", 2)
        fleet.start("gpu", chaos.of(full=3, short=2))
        await fleet.settled()
        runs_in_flight = []
        while len(fleet.kills) < kills or min(killed(fleet).values()) < kills // 4 or len(load.submitted) < videos:
            await load.keep_in_flight(in_flight)
            await until_next_kill(fleet, chaos)
            for role in ROLES:
                victims = choose_victims(fleet, history, role, chaos)
                if victims and load.unanswered():
                    runs_in_flight.append(len(load.unanswered()))
                    fleet.kill(role, victims)
        await fleet.settled()
        evidence = await service.verify_at_rest()
    history.read()
    check_results(evidence, load.submitted, undisturbed)
    in_hand = note_recoveries(report, history, fleet.kills)
    if chaos.full:  # of the few kills of the short form all may fall between two spans
        assert sum(map(bool, in_hand)) >= len(in_hand) / 2, f"of {len(in_hand)} GPU workers few had spans in their hands when killed"
    rework = history.check_rework(fleet.disturbances)
    report.note(
        kills=len(fleet.kills),
        kills_of_gpu_workers=killed(fleet)["gpu"],
        kills_with_spans_in_hand=sum(map(bool, in_hand)),
        runs_in_flight_at_kills=round(statistics.mean(runs_in_flight), 1),
        videos=len(load.submitted),
        **rework.figures(),
    )


def killed(fleet: Fleet) -> dict[Role, int]:
    """How many workers of each role have been killed."""
    return {role: sum(kill.role == role for kill in fleet.kills) for role in ROLES}


async def until_next_kill(fleet: Fleet, chaos: Chaos) -> None:
    """Wait for a random time, so that kills hit everything that workers do."""
    moment = time.monotonic() + chaos.rng.expovariate(1 / MEAN_PAUSE_SECONDS)
    await fleet.check()
    while (remaining := moment - time.monotonic()) > 0:
        await fleet.service.ledger.read_on(min(remaining, 0.2))
        await fleet.check()


def choose_victims(fleet: Fleet, history: History, role: Role, chaos: Chaos) -> list[Worker]:
    """Choose one worker that has joined, or sometimes all; none while the role must be spared.

    A role is usually spared while nothing has been done since its last kill, and while no GPU worker holds a span.
    """
    history.read()
    workers = [worker for worker in fleet.workers[role] if worker in fleet.joined and not is_spared(worker, history)]
    last = max((kill.began for kill in fleet.kills if kill.role == role), default=0.0)
    recovering = history.next(last, *PROGRESS[role]) is None
    busy = [worker for worker in workers if role == "coordinator" or history.held_by(worker.pid, time.time())]
    if (recovering or not busy) and chaos.rng.random() > 1 / 8:
        return []
    if chaos.rng.random() < 1 / 8:
        return workers
    return [chaos.rng.choice(busy or workers)] if workers else []


def is_spared(worker: Worker, history: History) -> bool:
    """Whether it holds a span that would soon count as killing its workers, so that its run would fail."""
    return any(history.takes_in_vain(span) > MAX_SPAN_TAKES - 4 for span in history.held_by(worker.pid, time.time()))


def note_recoveries(report: Report, history: History, kills: list[Disturbance]) -> list[int]:
    """Seconds until something was done again, until the group was stable, and until what the victim held was done.

    Returns how many spans each of the GPU workers held.
    """
    in_hand = []
    for kill in kills:
        report.recovered(f"kill of {kill.role}, until the group is settled", kill.ended - kill.began)
        progress = history.next(kill.began, *PROGRESS[kill.role])
        if progress is not None:
            report.recovered(f"kill of {kill.role}, until the next progress", progress)
        if kill.role == "gpu":
            spans = history.held_by(kill.worker.pid, kill.began)
            in_hand.append(len(spans))
            for span in spans:
                report.recovered("kill of gpu, until its span is done", history.first_done[span] - kill.began)
    return in_hand
