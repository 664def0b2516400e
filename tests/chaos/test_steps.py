"""Workers are killed right before and right after every step, and so are their successors, with several videos in flight."""

import signal
import time
from collections.abc import Mapping
from uuid import uuid4

import pytest

from tests.chaos.figures import Report
from tests.chaos.fleet import ROLES, Disturbance
from tests.chaos.history import History
from tests.chaos.load import Load, check_results
from tests.chaos.scale import Chaos
from tests.service.faults import Fault
from tests.service.installation import Installation
from tests.service.processes import Role
from tests.service.steps import (
    ACKNOWLEDGING,
    ACKNOWLEDGING_WORK,
    ADMITTING,
    AGGREGATING,
    FAILING,
    FINISHING,
    INFERRING,
    JOINING,
    READING_BACK,
    on_both_sides,
)
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL = 40
TWO_SPANS = 514
CORRUPT = video(SMALL).with_chunk("modulo_1/chunk_0000000001.webm", b"this is no film")

WRITTEN_BY: Mapping[Role, tuple[str, ...]] = {"coordinator": ("run_started", "run_joined", "run_finished"), "gpu": ("span_taken",)}
"""Kinds of records in a log by the role that writes them: the first after a kill shows that a successor is at work."""


async def test_coordinators(service: Installation, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report) -> None:
    """Coordinators die at every step of admitting, aggregating, finishing, failing and acknowledging; every request has one outcome.

    The short form has the steps that tests/service leaves to it.
    """
    every = (*ADMITTING, *JOINING, *AGGREGATING, *FINISHING, *READING_BACK, *FAILING, *ACKNOWLEDGING)
    await _kill_at("coordinator", chaos.of(full=every, short=ACKNOWLEDGING[3:]), service, undisturbed, chaos, report)


async def test_gpu_workers(service: Installation, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report) -> None:
    """GPU workers die before and after a span is taken, computed, sent and acknowledged; each span counts once."""
    every = (*INFERRING, *ACKNOWLEDGING_WORK)
    await _kill_at("gpu", chaos.of(full=every, short=ACKNOWLEDGING_WORK[1:]), service, undisturbed, chaos, report)


async def _kill_at(
    role: Role, steps: tuple[Fault, ...], service: Installation, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report
) -> None:
    faults = on_both_sides(steps)
    chaos.rng.shuffle(faults)
    kills, failing, before = list[Disturbance](), list[str](), _history(service).check_rework(())
    async with Load(service, chaos.rng) as load:
        (other,) = (service.processes.start(name) for name in ROLES if name != role)
        for fault in faults:
            broken = service.processes.start(role, fault)
            failing.append(await _ask(service, load, TWO_SPANS if _needs_two_spans(fault) else load.choose(1)[0]))
            assert await broken.ended() == -signal.SIGKILL, f"{fault}: ended with {broken.status}\n{service.processes.tails()}"
            kills.append(Disturbance(role, "kill", broken, time.time(), time.time()))
        healthy = service.processes.start(role)
        evidence = await service.verify_at_rest()
        assert [await worker.stopped() for worker in (other, healthy)] == [0, 0]
    check_results(evidence, load.submitted, undisturbed)
    assert {evidence.outcomes[request].name for request in failing} == {"inference.failed"}
    history = _history(service)
    rework = history.check_rework(kills).figures()
    for kill in kills:
        # Where the next one died before it wrote anything, this is the time until one after it did.
        if (seconds := history.next(kill.began, *WRITTEN_BY[role])) is not None:
            report.recovered(f"{role} killed", seconds)
    rework = {name: count - getattr(before, name) for name, count in rework.items()}
    report.note(kills=len(kills), requests=len(load.submitted) + len(failing), **rework)


def _history(service: Installation) -> History:
    history = History(service.ledger)
    history.read()
    return history


def _needs_two_spans(fault: Fault) -> bool:
    """Time for the second span to be sent, or for a run to last until another request has joined it."""
    return bool({"inference.work.high", "run_joined"}.intersection(fault.having))


async def _ask(service: Installation, load: Load, frames: int) -> str:
    """Request runs that pass every step: one of one span, one of any number with two requests, and one that fails. Return its request."""
    await load.publish([SMALL])
    twice = await service.add(video(frames))
    for _ in range(2):
        await load.request(twice, frames)
    failing = await service.submit(await service.add(CORRUPT), SMALL, event_id=str(uuid4()))
    return str(failing.request_id)
