"""The bound on rework covers what was in flight at a disturbance, and nothing else."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import UUID

import pytest

from core.types import Precision, Priority
from streams.records import LogRecord, SpanDone, SpanTaken, Work
from tests.chaos.fleet import Disturbance
from tests.chaos.history import COMMIT_SECONDS, ECHO, History
from tests.service.ledger import Ledger
from tests.service.processes import Role, Worker

RUN = UUID(int=1)
NOW = 1_700_000_000.0
PINS = {
    "run_id": RUN,
    "attempt": 1,
    "tenant_id": RUN,
    "video_id": RUN,
    "cropped_frames_version": 1,
    "frame_count": 40,
    "model_version": "any",
    "checkpoint_sha256": "0" * 64,
    "precision": Precision.FLOAT32,
    "layout_sha256": "0" * 64,
    "priority": Priority.HIGH,
}


def taken(pid: int) -> SpanTaken:
    return SpanTaken(run_id=RUN, attempt=1, span=0, worker=f"host:{pid}", taken_at=datetime.now(UTC))


def done(pid: int) -> SpanDone:
    about = {"frame_width": 1, "frame_height": 1, "device": "cpu", "engine": {}, "gpu_seconds": 0.1, "span_seconds": 0.1}
    return SpanDone(**PINS, **about, span=0, worker=f"host:{pid}", done_at=datetime.now(UTC), probabilities="")


def history(*log: tuple[float, LogRecord], sent: int = 1, headers: Sequence[tuple[str, bytes]] = ()) -> History:
    """A history of one span: its records, each this many seconds from now, and how often its work record was sent."""
    records = defaultdict(list)
    records["inference.results"] = [
        SimpleNamespace(value=record.to_bytes(), timestamp=int(1000 * (NOW + seconds)), headers=headers) for seconds, record in log
    ]
    records["inference.work.high"] = [SimpleNamespace(value=Work(**PINS, span=0).to_bytes()) for _ in range(sent)]
    read = History(cast(Ledger, SimpleNamespace(records=records)))
    read.read()
    return read


def kill(pid: int, began: float, ended: float, role: Role = "gpu") -> Disturbance:
    worker = Worker("killed", Path("log"), cast("object", SimpleNamespace(pid=pid)))  # type: ignore[arg-type]  # its id is all that is asked
    return Disturbance(role, "kill", worker, NOW + began, NOW + ended)


ONCE = ((0, taken(1)), (1, done(1)))
TWICE = (*ONCE, (10, taken(2)), (11, done(2)))


def test_a_span_computed_once_is_no_rework():
    """A span that was done once is not rework, whichever process was killed."""
    assert history(*ONCE).check_rework([kill(1, 5, 8)]).rework_spans == 0


def test_an_unneeded_repeat_is_rework():
    """A span that was repeated although nothing was disturbed is reported."""
    with pytest.raises(AssertionError, match="done 1 times more"):
        history(*TWICE).check_rework([])


@pytest.mark.parametrize("began", [0.5, 1 + COMMIT_SECONDS - 0.1], ids=["while it was in hand", "before it was committed"])
def test_in_flight(began: float):
    """A span that was in flight when its worker was killed may be repeated."""
    rework = history(*TWICE).check_rework([kill(1, began, began + 2)])
    assert (rework.spans, rework.rework_spans, rework.rework_pairs) == (1, 1, 39)


@pytest.mark.parametrize("disturbance", [kill(1, 1 + COMMIT_SECONDS + 0.1, 9), kill(1, 0.5, 3, "coordinator")], ids=["later", "elsewhere"])
def test_not_in_flight(disturbance: Disturbance):
    """A kill after the span was acknowledged, or of a coordinator, does not excuse it."""
    with pytest.raises(AssertionError, match="disturbed 0 times"):
        history(*TWICE).check_rework([disturbance])


def test_once_for_each_kill():
    """One kill excuses one repetition."""
    thrice = (*TWICE, (12, taken(3)), (13, done(3)))
    with pytest.raises(AssertionError, match="done 2 times more"):
        history(*thrice).check_rework([kill(1, 0.5, 3)])
    assert history(*thrice).check_rework([kill(1, 0.5, 3), kill(2, 11.5, 14)]).rework_spans == 2


def test_what_a_killed_worker_held_is_not_in_flight_for_ever():
    """A span that a killed worker never released does not excuse much later repetitions."""
    log = ((0, taken(1)), (5, taken(2)), (6, done(2)), (40, taken(3)), (41, done(3)))
    with pytest.raises(AssertionError, match="disturbed 1 times"):
        history(*log, (42, done(3))).check_rework([kill(1, 1, 4), kill(2, 30, 33)])


def test_sent_again():
    """A work record that was sent twice may be processed twice."""
    assert history(*TWICE, sent=2).check_rework([]).resent_spans == 1


def test_echoed_records_do_not_count():
    """Records that the tests have resent do not count as workers' records."""
    assert not history(*TWICE, headers=[(ECHO, b"")]).entries
