"""A request that is delivered again, when what is limited, found or stored has changed since it was decided."""

from dataclasses import replace
from types import SimpleNamespace
from uuid import UUID

import pytest

from core.admission import AdmissionAnswer, Decision
from core.errors import MissingObjectError
from streams.agents import admit
from streams.agents.admit import Admission, _Pinned
from streams.app import Tenure
from streams.records import Pins
from tests.streams.run_logs import RUN, pins

ANSWER = AdmissionAnswer(decision=Decision.RUN, run_id=str(RUN), attempt=1, rejection=None, found_run=None, repeated=True)
PINNED = _Pinned(Pins(**pins()), "builtin/builtin.safetensors")


class Admitting(Admission):
    """With a job of this status, data that is there or not, and what comes of it noted."""

    __slots__ = ("came_of_it",)

    @classmethod
    def beside(cls, monkeypatch: pytest.MonkeyPatch, status: str, pinned: _Pinned | Exception) -> "Admitting":
        async def find_job(run_id: UUID) -> SimpleNamespace:
            return SimpleNamespace(attempt=1, status=status)

        async def call(tenure, action):
            return await action()

        nothing, rows = SimpleNamespace(), SimpleNamespace(find_job=find_job)
        made = cls(*[nothing] * 4, rows, nothing, nothing, nothing, SimpleNamespace(call=call))
        made.came_of_it = []

        async def pin(self, tenure, asked, video):
            if isinstance(pinned, Exception):
                raise pinned
            return pinned

        async def send_run(self, tenure, received, read, sent):
            made.came_of_it.append(("sent", sent.pins.attempt))

        async def give_up(self, tenure, received, read, run_id, attempt, error):
            made.came_of_it.append(("given up", error))

        for name, method in (("_pin", pin), ("_send_run", send_run), ("_give_up", give_up)):
            monkeypatch.setattr(admit.Admission, name, method)
        return made

    async def start(self, answer: AdmissionAnswer = ANSWER, pinned: _Pinned | None = None) -> list[tuple[str, object]]:
        await self._start(
            Tenure(1), SimpleNamespace(), SimpleNamespace(asked=SimpleNamespace(video_id=None), video=SimpleNamespace()), answer, pinned
        )
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
    """Its data went away before anything of it was taken: it fails, and says why."""
    assert await Admitting.beside(monkeypatch, "queued", GONE).start() == [("given up", str(GONE))]


@pytest.mark.parametrize("status", ["completed", "failed"])
async def test_a_run_that_is_over_is_left_alone(monkeypatch, status):
    """It was answered by its outcome."""
    assert await Admitting.beside(monkeypatch, status, GONE).start() == []


async def test_another_default_model_starts_no_run_that_was_not_decided(monkeypatch):
    """What would be sent now is a run of another name than the decision's."""
    other = replace(PINNED, pins=PINNED.pins.model_copy(update={"run_id": UUID(int=9), "model_version": "other"}))
    ((what, why),) = await Admitting.beside(monkeypatch, "queued", PINNED).start(pinned=other)
    assert what == "given up"
    assert "the default model is other now" in why
