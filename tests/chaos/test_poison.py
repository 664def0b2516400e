"""Poison of every kind between good records: each has one outcome after a bounded number of tries, and its neighbours complete.

All of it is published while no GPU worker runs, so that the topics hold it in the random order of the seed.
"""

import asyncio
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import orjson
import pytest
from aiokafka import ConsumerRecord

from core.types import Priority
from streams.kafka.client import Published
from streams.policy.redrive import HISTORY_HEADER
from streams.records import LogRecord, SpanDone, SpanFailed, SpanTaken, VideoEncoded, Work, decode
from tests.chaos.figures import Report
from tests.chaos.history import SpanName
from tests.chaos.load import check_result
from tests.chaos.orchestrator import Orchestrator
from tests.chaos.poison import LARGE, SMALL, STRAY, Case, Publisher
from tests.chaos.scale import Chaos
from tests.patience import Deadline
from tests.service.installation import Installation
from tests.service.last_straw import MAX_SPAN_TAKES
from tests.service.verifier import Evidence
from tests.service.videos import chunk, video

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUBBISH_BYTES: Final = 1_000_000
WAITING_DEADLINE_SECONDS: Final = 60
"""The deadline of the one run that waits for its model until then; all others have the usual day."""

TAKEN_TOO_OFTEN: Final = f"was taken {MAX_SPAN_TAKES} times without a result"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        "EXTENTS_WORK_PARTITIONS": "8",
        "EXTENTS_MODEL_CACHE": str(tmp_path_factory.mktemp("models")),
    }


@pytest.mark.timeout(1500)
async def test_poison_between_good_records(service: Installation, undisturbed: Mapping[int, bytes], chaos: Chaos, report: Report) -> None:
    """Good records complete as if they were alone; poison is rejected or fails, becomes a dead letter, and can be redriven."""
    service.verifier.faulty = True
    publisher = Publisher(service)
    if chaos.full:
        await _admit_one_that_waits(publisher)
    service.processes.start("coordinator")
    for publish in _in_seeded_order(publisher, chaos):
        await publish()
    await service.ledger.until_committed("coordinator")
    await publisher.take_away()

    began = time.monotonic()
    limit = {"EXTENTS_PREDICT_LIMIT_SECONDS": chaos.of(full="8", short="6")}  # of spans that take one second, on a busy machine a few
    first = [service.processes.start("gpu", *publisher.faults, *publisher.once, **limit) for _ in range(chaos.of(full=3, short=2))]
    async with Orchestrator(first, lambda: service.processes.start("gpu", *publisher.faults, **limit)) as orchestrator:
        await _all_answered(service, seconds=chaos.of(full=1000, short=600))
        answered = time.monotonic()
        evidence = await service.verify_at_rest()
    for case in publisher.cases:
        await _check_outcome(service, case)
        if case.name == "good":
            check_result(evidence, str(case.request.request_id), undisturbed[case.frame_count])
    takes, ends = _takes(service), _ends(service)
    _check_bounds(publisher, orchestrator, takes, ends, workers=len(first))
    report.note(
        good=sum(case.name == "good" for case in publisher.cases),
        poison=sum(case.name != "good" for case in publisher.cases) + publisher.strays,
        workers_ended={str(status): count for status, count in sorted(orchestrator.ended.items())},
        most_takes_of_a_span=max(takes.values()),
        most_takes_without_a_result=max((takes - ends).values()),
        dead_letters=sum(len(copies) for copies in evidence.letters.values()),
        seconds_until_all_had_an_outcome=round(answered - began, 1),
    )

    await publisher.repair()
    healthy = service.processes.start("gpu")
    report.note(redriven=await _redrive(service, publisher, evidence))
    await service.verify_at_rest()
    assert await healthy.stopped() == 0


async def _admit_one_that_waits(publisher: Publisher) -> None:
    """A run keeps the deadline with which it was admitted, so a coordinator of its own admits it."""
    service = publisher.service
    coordinator = service.processes.start("coordinator", EXTENTS_DEADLINE_LOW_SECONDS=str(WAITING_DEADLINE_SECONDS))
    await publisher.low_of_no_model(f"deadline of {WAITING_DEADLINE_SECONDS} s passed")
    await service.ledger.until_committed("coordinator")
    assert await coordinator.stopped() == 0


def _in_seeded_order(publisher: Publisher, chaos: Chaos) -> list[Callable[[], Awaitable[None]]]:
    """The published records: every kind of poison, and good records in between."""
    intact = video(SMALL).chunks["modulo_1/chunk_0000000001.webm"]
    rubbish = chaos.rng.randbytes(RUBBISH_BYTES)
    ids = {"tenant_id": str(publisher.service.tenant_id), "video_id": str(uuid4()), "cropped_frames_version": 1, "frame_count": SMALL}
    requests: list[tuple[str, bytes | None, str]] = [
        ("undecodable", b"\xff\xfenot json", "JSON"),
        ("null", None, "JSON"),
        ("rubbish of 1 MB", rubbish, "JSON"),
        ("no object", b"[1, 2]", "object"),
        ("path for an id", orjson.dumps({**ids, "video_id": "../../other-tenant/video"}), "video_id"),
        ("path after an id", orjson.dumps({**ids, "tenant_id": f"{uuid4()}/.."}), "tenant_id"),
        ("path for a model", orjson.dumps({**ids, "video_id": str(uuid4()), "model_version": "../../secret"}), "model_version"),
        ("text for a number", orjson.dumps({**ids, "video_id": str(uuid4()), "frame_count": "40"}), "frame_count"),
    ]
    topics = publisher.service.topics
    strays = [
        (topic, value) for topic in (topics.work_high, topics.work_low, topics.results, topics.cancelled) for value in (b"{", None, rubbish)
    ]
    chunks = [
        ("no film", b"this is no film"),
        ("truncated", intact[: len(intact) // 2]),
        ("empty", b""),
        ("other size", chunk(29, height=40)),
    ]
    full = chaos.full
    sizes, goods = ((SMALL, SMALL, LARGE), 30) if full else ((SMALL,), 8)
    exhausting = ["kill", "kill", "hang"] if full else ["kill"]
    steps: list[Callable[[], Awaitable[None]]] = [
        *(partial(publisher.request, *arguments) for arguments in requests),
        *(partial(publisher.stray, *arguments) for arguments in strays),
        *(partial(publisher.broken_chunk, *arguments) for arguments in chunks),
        publisher.missing_chunk,
        publisher.chunk_that_goes,
        *(partial(publisher.span, how, TAKEN_TOO_OFTEN) for how in exhausting),
        partial(publisher.span, "fail", "set aside: handling the record failed unexpectedly 3 times", outcome_after_repair=None),
        *(partial(publisher.span_once, how) for how in ("hang", "kill")),
        partial(publisher.span, "starve", "out of memory.*given up after 4 tries"),
        partial(publisher.model, "gone", None),
        partial(publisher.model, "replaced", b"other weights"),
        *(
            partial(publisher.good, chaos.rng.choice(sizes), chaos.rng.choice([Priority.HIGH, Priority.HIGH, Priority.LOW]))
            for _ in range(goods)
        ),
    ]
    chaos.rng.shuffle(steps)
    return steps


async def _all_answered(service: Installation, seconds: float) -> None:
    """Longer than a test waits for anything else: a span that kills its workers does so ten times."""
    deadline = Deadline(seconds)
    while missing := service.verifier.unanswered():
        assert not deadline.passed, f"no outcome of {missing}\n{service.processes.tails()}"
        await service.ledger.read_on(0.5)


async def _check_outcome(service: Installation, case: Case) -> None:
    outcome = await service.ledger.outcome(case.request)
    message = outcome.body.get("reason", outcome.body.get("message", ""))
    assert outcome.name == case.outcome, f"{case.name} has ended in {outcome}"
    assert re.search(case.message, message), f"{case.name}: {message}"


def _takes(service: Installation) -> Counter[SpanName]:
    """How often each span was taken."""
    return Counter(_name(record) for record in _logs(service) if isinstance(record, SpanTaken))


def _ends(service: Installation) -> Counter[SpanName]:
    """How often workers reported the end of a take: a result, a release, a failure."""
    return Counter(_name(record) for record in _logs(service) if isinstance(record, SpanDone | SpanFailed))


def _logs(service: Installation) -> list[LogRecord]:
    """The content of the logs of all runs."""
    runs = {record.key.decode() for record in service.ledger.records["inference.results"] if record.key != STRAY}
    return [record for run_id in runs for record in service.ledger.log(run_id)]


def _name(record: SpanTaken | SpanDone | SpanFailed | Work) -> SpanName:
    return record.run_id, record.attempt, record.span


def _check_bounds(
    publisher: Publisher, orchestrator: Orchestrator, takes: Counter[SpanName], ends: Counter[SpanName], workers: int
) -> None:
    """Check that nothing was tried forever.

    A deadly span has at most the allowed number of takes without an end in the log. Each of these ends a worker; a worker that hangs
    may end after releasing the span. Any span is taken at most once for each time that its record is sent or, because a worker has
    ended, redelivered.
    """
    granted = MAX_SPAN_TAKES + 1
    deadly = {str(case.video_id) for case in publisher.cases if TAKEN_TOO_OFTEN in case.message}
    ended = sum(orchestrator.ended.values())
    assert ended <= 2 * granted * len(deadly) + workers * len(publisher.once), f"workers have ended {orchestrator.ended}"
    assert set(orchestrator.ended) <= {-9, 1, 70}, f"workers have ended {orchestrator.ended}"
    sent = Counter(_name(decode(Work, record.value)) for record in _works(publisher.service))
    for span, count in takes.items():
        in_vain, bound = count - ends[span], sent[span] * (1 + 2 * ended)  # a group is shared out when one leaves and when one joins
        assert in_vain <= granted, f"{span} was taken {count} times, and only {ends[span]} takes have an end in the log"
        assert count <= bound, f"{span} was taken {count} times, sent {sent[span]} times; workers have ended {ended} times"


def _works(service: Installation) -> list[ConsumerRecord]:
    """Work records, without strays."""
    return [
        record for topic in ("inference.work.high", "inference.work.low") for record in service.ledger.records[topic] if record.key != STRAY
    ]


async def _redrive(service: Installation, publisher: Publisher, evidence: Evidence) -> int:
    """Redrive the dead letters of all failed runs with the command. Return how many runs were requested again."""
    command = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("extents"),
        *("dead-letters", "redrive", "--reason", "span_failed", "--yes", "--json"),
        env={**os.environ, **service.processes.environment},
        cwd=service.processes.folder,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await command.communicate()
    assert command.returncode == 0
    cases = {str(case.video_id): case for case in publisher.cases if case.outcome_after_repair is not None}
    assert len(json.loads(output)) == len(cases)
    await service.ledger.read_all()
    redriven = [
        record for topic in ("video.encoded", "video.encoded.low") for record in service.ledger.records[topic] if _is_redriven(record)
    ]
    by_video = {str(decode(VideoEncoded, record.value).video_id): record for record in redriven}
    assert by_video.keys() == cases.keys()
    for video_id, record in by_video.items():
        outcome = await service.ledger.outcome(Published(uuid4(), record.topic, record.partition, record.offset))
        case = cases[video_id]
        assert outcome.name == case.outcome_after_repair, f"{case.name}, redriven, has ended in {outcome}"
    return len(redriven)


def _is_redriven(record: ConsumerRecord) -> bool:
    return HISTORY_HEADER in dict(record.headers)
