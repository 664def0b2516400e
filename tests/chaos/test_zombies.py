"""Workers are paused beyond their session timeout, replaced, and resumed when all is done: whatever they still do only repeats work."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import orjson
import pytest

from devstack.part import tail
from tests.chaos.figures import Report
from tests.chaos.fleet import GROUPS, ROLES, Fleet
from tests.chaos.history import History
from tests.chaos.load import Load, check_results
from tests.chaos.scale import Chaos
from tests.patience import Deadline
from tests.service.faults import Fault
from tests.service.installation import Installation
from tests.service.processes import WAIT_SECONDS, Role, Worker
from tests.service.steps import ADMITTING, AGGREGATING, FAILING, FINISHING, INFERRING, JOINING, READING_BACK
from tests.service.verifier import Evidence
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL: Final = 40
TWO_SPANS: Final = 514
CORRUPT = video(SMALL).with_chunk("modulo_1/chunk_0000000001.webm", b"this is no film")


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    # At least as many partitions as there are workers when all are awake.
    return {"EXTENTS_REQUEST_PARTITIONS": "6", "EXTENTS_WORK_PARTITIONS": "16", "EXTENTS_RESULTS_PARTITIONS": "16"}


async def test_coordinators(service: Installation, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report) -> None:
    """Coordinators that are paused at a step while others finish their runs do that step when they resume, and nothing changes."""
    others = (*ADMITTING, *JOINING, *FINISHING, *READING_BACK, *FAILING)
    steps = chaos.of(full=[*AGGREGATING, *chaos.rng.sample(others, 9)], short=[AGGREGATING[1], FINISHING[4]])
    after = await _sleep_at("coordinator", steps, service, undisturbed, chaos, report)
    assert after, "no coordinator did anything when it woke"


async def test_gpu_workers(service: Installation, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report) -> None:
    """GPU workers that are paused with a span until others have done it send the same bytes when they resume."""
    steps = chaos.of(full=[replace(step, nth=nth) for step in INFERRING for nth in (1, 2)], short=INFERRING[2:])
    after = await _sleep_at("gpu", steps, service, undisturbed, chaos, report)
    assert after["span_done"], "no GPU worker has sent a result again"


async def test_at_any_moment(service: Installation, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report) -> None:
    """A process that is paused at any moment beyond its session timeout, and resumes while others work, does no harm and delays nothing."""
    rounds, in_flight = chaos.of(full=(8, 6), short=(1, 3))
    history = History(service.ledger)
    async with Fleet(service) as fleet, Load(service, chaos.rng) as load:
        for role in ROLES:
            fleet.start(role, 2)
        await fleet.settled()
        for _ in range(rounds):
            role = chaos.rng.choice(ROLES)
            await load.keep_in_flight(in_flight)
            await service.ledger.read_on(chaos.rng.uniform(0.0, 2.0))
            sleeper = _choose(fleet, role, history, chaos)
            os.kill(sleeper.pid, signal.SIGSTOP)
            await service.ledger.until_members(GROUPS[role], 1)
            await load.keep_in_flight(in_flight)
            await service.ledger.read_on(chaos.rng.uniform(0.0, 2.0))
            os.kill(sleeper.pid, signal.SIGCONT)
            woken = time.monotonic()
            await service.ledger.until_members(GROUPS[role], 2)
            report.recovered(f"waking of {role}, until it has joined again", time.monotonic() - woken)
            await fleet.check()
        evidence = await service.verify_at_rest()
        for role, workers in fleet.workers.items():
            await fleet.stop(role, list(workers))
    check_results(evidence, load.submitted, undisturbed)
    report.note(sleepers=rounds, videos=len(load.submitted), span_results_repeated=_check_repeats(history))


async def _sleep_at(
    role: Role, steps: Sequence[Fault], service: Installation, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report
) -> Counter[str]:
    """Pause a worker right before each of these steps, each after it took over from the last; then resume them all.

    Returns what they have sent since: records of the logs by their kinds, and events by their topics.
    """
    faults = [replace(step, when="before", how="stop") for step in steps]
    chaos.rng.shuffle(faults)
    sleepers, failing = list[Worker](), list[str]()
    async with Load(service, chaos.rng) as load:
        (other,) = (service.processes.start(name) for name in ROLES if name != role)
        for fault in faults:
            sleepers.append(service.processes.start(role, fault))
            failing.append(await _ask(service, load))
            await _asleep(sleepers[-1], fault)
        awake = service.processes.start(role)
        before = await service.verify_at_rest()
        rows, done = await _run_rows(service, before), _sent(service)
        woken = time.monotonic()
        for sleeper in sleepers:
            os.kill(sleeper.pid, signal.SIGCONT)
        await service.ledger.until_members(GROUPS[role], len(sleepers) + 1)
        report.recovered(f"waking of all {role}s, until they have joined again", time.monotonic() - woken)
        statuses = [await worker.stopped() for worker in (*sleepers, awake)]
        assert set(statuses) == {0}, service.processes.tails()
        heir = service.processes.start(role)
        await heir.ready()
        after = await service.verify_at_rest()
        assert [await worker.stopped() for worker in (other, heir)] == [0, 0]
    assert after.outcomes == before.outcomes
    assert await _run_rows(service, after) == rows
    if role == "coordinator":
        assert _active_when_recovered(heir) == 0, f"{heir.name} took up runs that were finished long ago.\n{tail(heir.log)}"
    check_results(after, load.submitted, undisturbed)
    assert {after.outcomes[request].name for request in failing} == {"inference.failed"}
    again = _sent(service) - done
    repeated = _check_repeats(History(service.ledger))
    report.note(sleepers=len(sleepers), requests=len(load.submitted) + len(failing), sent_on_waking=dict(again))
    report.note(span_results_repeated=repeated)
    return again


async def _ask(service: Installation, load: Load) -> str:
    """Request runs that pass every step: one of one span, one of two with a second request, and one that fails. Return its request."""
    await load.publish([SMALL])
    twice = await service.add(video(TWO_SPANS))
    for _ in range(2):
        await load.request(twice, TWO_SPANS)
    return str((await service.submit(await service.add(CORRUPT), SMALL, event_id=str(uuid4()))).request_id)


async def _asleep(worker: Worker, fault: Fault) -> None:
    """Wait until a process has stopped itself."""
    deadline = Deadline(WAIT_SECONDS)
    while _state(worker) != "T":
        assert not deadline.passed, f"{worker.name} does not stop {fault}.\n{tail(worker.log)}"
        assert worker.status is None, f"{worker.name} has ended with status {worker.status}.\n{tail(worker.log)}"
        await asyncio.sleep(0.05)


def _state(worker: Worker) -> str:
    """The state that the kernel reports; T means stopped."""
    return Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0]


async def _run_rows(service: Installation, evidence: Evidence) -> dict[str, Any]:
    return {run_id: await service.verifier.run_row(run_id) for run_id in evidence.runs}


def _sent(service: Installation) -> Counter[str]:
    """The number of records of each kind: in the logs of the runs, and in the other topics except heartbeats."""
    others = {"inference.results", "inference.workers"}
    topics = {name: len(records) for name, records in service.ledger.records.items() if name not in others}
    return Counter(topics) + Counter(orjson.loads(record.value)["kind"] for record in service.ledger.records["inference.results"])


def _check_repeats(history: History) -> int:
    """Check that all results of a span have the same bytes. Return the number of repetitions."""
    history.read()
    for span, results in history.done.items():
        assert len({result.probabilities for result in results}) == 1, f"{span} has results that differ"
    return sum(len(results) - 1 for results in history.done.values())


def _active_when_recovered(coordinator: Worker) -> int:
    """The number of unfinished runs when a coordinator had read the table."""
    recoveries = [orjson.loads(line) for line in coordinator.log.read_text().splitlines() if "runs.recovered" in line]
    active: int = recoveries[-1]["active"]
    return active


def _choose(fleet: Fleet, role: Role, history: History, chaos: Chaos) -> Worker:
    """A GPU worker, preferably one that holds a span."""
    history.read()
    now = time.time()
    busy = [worker for worker in fleet.workers[role] if history.held_by(worker.pid, now)]
    return chaos.rng.choice(busy or fleet.workers[role])
