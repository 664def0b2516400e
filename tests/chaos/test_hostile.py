"""Hostile records of every kind between good ones: the same processes are alive afterwards, and no good record is lost."""

import time
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.chaos.figures import Report
from tests.chaos.hostile import TRIES, Hostility, log_record
from tests.chaos.scale import Chaos
from tests.service.installation import Installation
from tests.streams.run_logs import work

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]


async def test_hostile_records_between_good_ones(service: Installation, chaos: Chaos, report: Report) -> None:
    """Good requests complete, records that cannot be handled have their outcome and dead letter, and no process has ended."""
    service.verifier.faulty = True
    hostility = Hostility(service)
    steps = _in_seeded_order(hostility, chaos)
    began = time.monotonic()
    for step in steps:
        await step()
    # Behind all of it in each partition, and in that of the aborted transaction.
    for _ in range(8):
        await hostility.good()
    coordinator = service.processes.start("coordinator", *hostility.coordinator_faults)
    await service.ledger.until_committed("coordinator")
    await hostility.copy_work()
    worker = service.processes.start("gpu", *hostility.worker_faults)
    await service.ledger.until("outcomes of all requests", lambda: not service.verifier.unanswered())
    evidence = await service.verify_at_rest()
    await hostility.check()
    assert (coordinator.status, worker.status) == (None, None), service.processes.tails()
    letters = [letter for copies in evidence.letters.values() for letter in copies]
    unexpected = [letter for letter in letters if dict(letter.headers)["reason"] == b"unexpected"]
    assert len(unexpected) == hostility.given_up
    assert all(b"made to fail" in dict(letter.headers)["traceback"] for letter in unexpected)
    report.note(
        good=sum(case.name == "good" for case in hostility.cases),
        hostile=len(steps) - sum(case.name == "good" for case in hostility.cases[:-8]),
        given_up=hostility.given_up,
        dead_letters=len(letters),
        seconds_until_all_had_an_outcome=round(time.monotonic() - began, 1),
    )
    assert await worker.stopped() == 0
    assert await coordinator.stopped() == 0


def _in_seeded_order(hostility: Hostility, chaos: Chaos) -> list[Callable[[], Awaitable[None]]]:
    topics, tenant = hostility.service.topics, hostility.service.tenant_id
    results = [
        log_record("run_started", tenant, estimated_cost_usd=float("nan")),
        log_record("run_started", tenant, deadline_seconds=2**70),
        log_record("run_started", tenant, attempt=2**63),
        log_record("span_taken", tenant, taken_at="2026-01-02T03:04:05"),
        log_record("span_taken", tenant, taken_at="9999-12-31T23:59:59-14:00"),
    ]
    headers = [{"attempt": b"-1"}, {"attempt": b"8589934592"}, {"not_before": b"nan"}, {"avoid": b"nowhere"}]
    steps: list[Callable[[], Awaitable[None]]] = [
        hostility.null,
        hostility.long_ago,
        hostility.header_name,
        hostility.aborted,
        hostility.work_with_headers,
        *(partial(hostility.compressed, codec) for codec in ("gzip", "snappy", "lz4", "zstd")),
        *(partial(hostility.stray, topics.results, value) for value in results),
        *(partial(hostility.stray, topics.work_high, work().to_bytes(), values) for values in headers),
        *(partial(hostility.fault_of_admission, times) for times in (1, TRIES)),
        *(partial(hostility.fault_of_folding, times) for times in (1, TRIES)),
        *(partial(hostility.fault_of_inference, times) for times in (1, TRIES)),
        *(hostility.good for _ in range(chaos.of(full=30, short=6))),
    ]
    chaos.rng.shuffle(steps)
    return steps
