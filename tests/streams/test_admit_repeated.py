"""A request that is delivered again, when what is limited, found or stored has changed since it was decided."""

from dataclasses import replace
from types import SimpleNamespace
from uuid import UUID

import pytest

from core.admission import AdmissionAnswer, Decision
from core.errors import MissingObjectError
from core.settings import AdmissionSettings
from streams.agents import admit
from streams.agents.admit import Admission, _Pinned
from streams.app import Tenure
from streams.records import Pins, decode_log
from tests.storage import admission_requests
from tests.streams.run_logs import RUN, pins, request

ANSWER = AdmissionAnswer(decision=Decision.RUN, run_id=str(RUN), attempt=1, rejection=None, found_run=None, repeated=True)
PINNED = _Pinned(Pins(**pins()), "builtin/builtin.safetensors")
ASKED = admission_requests.request()


class Admitting(Admission):
    """With a job of this status, data that is there or not, and what comes of it noted."""

    __slots__ = ("asked", "came_of_it")

    @classmethod
    def beside(cls, monkeypatch: pytest.MonkeyPatch, status: str, pinned: _Pinned | Exception) -> "Admitting":
        async def find_job(run_id: UUID) -> SimpleNamespace:
            return SimpleNamespace(attempt=1, status=status, model_version="decided")

        async def call(tenure, action):
            return await action()

        nothing, rows = SimpleNamespace(), SimpleNamespace(find_job=find_job)
        made = cls(*[nothing] * 4, rows, nothing, nothing, nothing, SimpleNamespace(call=call))
        made.came_of_it = []

        async def pin(self, tenure, asked, video):
            made.asked = asked
            if isinstance(pinned, Exception):
                raise pinned
            return pinned

        async def send_run(self, tenure, received, read, sent):
            made.came_of_it.append(("sent", sent.pins.attempt))

        async def log_run(tenure, run_id, value):
            record = decode_log(value)
            made.came_of_it.append((record.kind, record.attempt))

        made.announcer = SimpleNamespace(log_run=log_run)
        for name, method in (("_pin", pin), ("_send_run", send_run)):
            monkeypatch.setattr(admit.Admission, name, method)
        return made

    async def start(self, answer: AdmissionAnswer = ANSWER, pinned: _Pinned | None = None) -> list[tuple[str, object]]:
        received, read = SimpleNamespace(timestamp_ms=0), SimpleNamespace(asked=ASKED, video=SimpleNamespace(), ref=request(1))
        await self._start(Tenure(1), received, read, answer, pinned)
        return self.came_of_it


GONE = MissingObjectError("modulo_1/chunk_0000000001.webm is missing")


@pytest.mark.parametrize("status", ["queued", "running"])
async def test_what_was_decided_is_sent_again_whatever_is_limited_or_found_now(monkeypatch, status):
    """A lower limit, or another run that is finished by now, cancels nothing: the steps are repeated."""
    assert await Admitting.beside(monkeypatch, status, PINNED).start() == [("sent", 1)]


async def test_a_run_that_is_under_way_is_not_given_up(monkeypatch):
    """Its chunks have gone meanwhile: its spans tell, or its deadline does. It is not cancelled behind their back."""
    assert await Admitting.beside(monkeypatch, "running", GONE).start() == []


async def test_a_run_that_was_never_under_way_is_given_up(monkeypatch):
    """Its data went away before anything of it was taken. Its log is told who waits, and then to end, unless it has ended."""
    assert await Admitting.beside(monkeypatch, "queued", GONE).start() == [("run_joined", 1), ("run_cancelled", 1)]


@pytest.mark.parametrize("status", ["completed", "failed"])
async def test_a_run_that_is_over_is_left_alone(monkeypatch, status):
    """It was answered by its outcome."""
    assert await Admitting.beside(monkeypatch, status, GONE).start() == []


async def test_another_default_model_changes_nothing_about_what_was_decided(monkeypatch):
    """The event names no model, and the default is another by now: the run is sent with the model it was decided with."""
    other = replace(PINNED, pins=PINNED.pins.model_copy(update={"run_id": UUID(int=9), "model_version": "other"}))
    admitting = Admitting.beside(monkeypatch, "queued", PINNED)
    assert await admitting.start(pinned=other) == [("sent", 1)]
    assert (admitting.asked.run_id, admitting.asked.model_version) == (RUN, "decided")


@pytest.mark.parametrize("decided", [True, False])
async def test_a_low_request_that_was_decided_does_not_wait_for_itself(monkeypatch, decided):
    """The limit is reached by jobs decided before a kill: theirs are sent, or nothing would ever make room; new ones wait."""
    looked = []

    async def count_unfinished(priority):
        looked.append(priority)
        return 1 if len(looked) < 3 else 0

    async def find_answer(request_id):
        return SimpleNamespace() if decided else None

    admitting = Admitting.beside(monkeypatch, "queued", PINNED)
    admitting.settings = AdmissionSettings(_env_file=None, low_jobs_limit=1)
    admitting.rows = SimpleNamespace(count_unfinished=count_unfinished, find_answer=find_answer)
    monkeypatch.setattr(admit, "LOW_JOBS_PAUSE_SECONDS", 0.0)
    await admitting._wait_for_low(Tenure(1), UUID(int=1))
    assert len(looked) == (1 if decided else 3)
