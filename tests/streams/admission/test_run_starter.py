"""A request is delivered again after limits, runs or stored data have changed since its decision."""

from dataclasses import replace
from types import SimpleNamespace
from uuid import UUID

import pytest

from core.admission import AdmissionAnswer, Decision, Rejection
from core.errors import MissingObjectError
from core.settings import AdmissionSettings
from core.types import RejectionType
from streams.admission.candidate import Candidate, PinnedRun
from streams.admission.run_starter import RunStarter
from streams.agents import admit
from streams.agents.admit import Admission
from streams.records import Pins, decode_log
from streams.runtime.assignment import Assignment
from tests.storage import admission_requests
from tests.streams.run_logs import RUN, pins, request

ANSWER = AdmissionAnswer(decision=Decision.RUN, run_id=str(RUN), attempt=1, rejection=None, found_run=None, repeated=True)
PINNED = PinnedRun(Pins(**pins()), "builtin/builtin.safetensors")
REQUEST = admission_requests.request()


class Starting(RunStarter):
    """A starter with a job of this status, with or without data, that records what it sends."""

    __slots__ = ("looked_up", "sent")

    @classmethod
    def beside(cls, status: str, pinned: PinnedRun | Exception) -> "Starting":
        async def find_job(run_id: UUID) -> SimpleNamespace:
            return SimpleNamespace(attempt=1, status=status, model_version="decided")

        async def call(assignment, action):
            return await action()

        async def pin(candidate: Candidate) -> PinnedRun:
            made.looked_up = candidate.request
            if isinstance(pinned, Exception):
                raise pinned
            return pinned

        async def append_to_run_log(assignment, run_id, value):
            record = decode_log(value)
            made.sent.append((record.kind, record.attempt))

        publisher = SimpleNamespace(append_to_run_log=append_to_run_log)
        made = cls(None, publisher, SimpleNamespace(find_job=find_job), SimpleNamespace(pin=pin), SimpleNamespace(call=call))
        made.sent = []
        return made

    async def _send(self, candidate: Candidate, promised: PinnedRun) -> None:
        self.sent.append(("run", promised.pins.attempt))

    async def start_again(self, pinned: PinnedRun | None = None) -> list[tuple[str, object]]:
        record = SimpleNamespace(timestamp_ms=0)
        await self.start(Candidate(record, Assignment(1), REQUEST, SimpleNamespace(), request(1), pinned, ANSWER))
        return self.sent


GONE = MissingObjectError("modulo_1/chunk_0000000001.webm is missing")


@pytest.mark.parametrize("status", ["queued", "running"])
async def test_a_stored_decision_is_sent_again_whatever_applies_now(status):
    """A lower limit or another finished run cancels nothing: the steps are repeated."""
    assert await Starting.beside(status, PINNED).start_again() == [("run", 1)]


async def test_a_running_run_is_not_cancelled():
    """If a running run's chunks disappear, its spans or its deadline decide its outcome."""
    assert await Starting.beside("running", GONE).start_again() == []


async def test_a_run_that_never_started_is_cancelled():
    """If the data disappears before any span is taken, the request and then the cancellation are appended to the run's log."""
    assert await Starting.beside("queued", GONE).start_again() == [("run_joined", 1), ("run_cancelled", 1)]


@pytest.mark.parametrize("status", ["completed", "failed"])
async def test_an_ended_run_is_left_alone(status):
    """An ended run was answered by its outcome."""
    assert await Starting.beside(status, GONE).start_again() == []


async def test_a_new_default_model_does_not_change_a_stored_decision():
    """If the event names no model and the default has changed since, the run is sent with the model of its decision."""
    other = replace(PINNED, pins=PINNED.pins.model_copy(update={"run_id": UUID(int=9), "model_version": "other"}))
    starting = Starting.beside("queued", PINNED)
    assert await starting.start_again(pinned=other) == [("run", 1)]
    assert (starting.looked_up.run_id, starting.looked_up.model_version) == (RUN, "decided")


@pytest.mark.parametrize("used_up", ["jobs", "budget"])
@pytest.mark.parametrize("decided", [True, False])
async def test_a_decided_low_request_does_not_wait_for_itself(monkeypatch, decided, used_up):
    """A job decided before a kill is sent although it counts toward limit and budget, or it would wait for itself; new requests wait."""
    looked = []

    async def count_unfinished(priority):
        looked.append(priority)
        return 1 if used_up == "jobs" and len(looked) < 3 else 0

    async def over_budget(assignment):
        return Rejection(RejectionType.COST_EXCEEDED, "spent") if used_up == "budget" and len(looked) < 3 else None

    async def find_answer(request_id):
        return SimpleNamespace() if decided else None

    async def call(assignment, action):
        return await action()

    settings, nothing = AdmissionSettings(_env_file=None, low_jobs_limit=1), SimpleNamespace()
    orders = SimpleNamespace(over_budget=over_budget)
    rows = SimpleNamespace(count_unfinished=count_unfinished, find_answer=find_answer)
    admission = Admission(settings, nothing, rows, nothing, nothing, nothing, SimpleNamespace(call=call), orders, nothing)
    monkeypatch.setattr(admit, "LOW_PAUSE_SECONDS", 0.0)
    await admission._wait_for_low(Candidate(nothing, Assignment(1), REQUEST, None, request(1)))
    assert len(looked) == (1 if decided else 3)
