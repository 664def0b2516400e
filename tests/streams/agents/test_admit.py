"""Requests that cannot be decided are answered and kept as dead letters, or end the process if the fault is not theirs."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from uuid import UUID

import pytest

from core.errors import CheckpointError, ConfigurationError, ExtentsError
from core.metrics import REQUESTS
from core.model_choice import ModelChoice
from core.settings import AdmissionSettings
from core.tracing_settings import TracingSettings
from streams.admission.rejections import Rejections
from streams.agents.admit import Admission
from streams.policy.dead_letters import DeadLetter
from streams.policy.outcomes import OutcomeEvent
from streams.received import ReceivedRecord
from streams.records import InferenceRejected, VideoEncoded, decode
from streams.runtime.assignment import Assignment
from streams.runtime.otlp import TraceExport
from tests.collector import collecting

VIDEO = VideoEncoded(tenant_id=UUID(int=2), video_id=UUID(int=3), cropped_frames_version=1, frame_count=40)
RECORD = ReceivedRecord("video.encoded", 0, 7, 1_700_000_000_000, b"key", VIDEO.to_bytes(), {})
OTHER = replace(RECORD, offset=8, headers={"traceparent": b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})


class Undecided:
    """Admission whose lookup or decision fails with an error, and the events it has sent."""

    def __init__(self, *, lookup: Exception | None = None, decision: Exception | None = None) -> None:
        self.events: list[OutcomeEvent] = []
        self.letters: list[DeadLetter] = []
        self._lookup, self._decision = lookup, decision
        publisher = SimpleNamespace(publish_outcome=self._publish_outcome, dead_letter=self._dead_letter)
        nothing = SimpleNamespace()
        orders = SimpleNamespace(
            refresh=self._refresh, choose=lambda tenant_id, video_id: ModelChoice("v1", "for the test"), refuse_purged=self._same
        )
        self.admission = Admission(
            AdmissionSettings(_env_file=None),
            publisher,
            SimpleNamespace(admit=self._admit),
            SimpleNamespace(look_up=self._look_up),
            nothing,
            nothing,
            SimpleNamespace(call=self._call),
            orders,
            Rejections(publisher),
        )

    @property
    def reasons(self) -> list[bytes]:
        return [letter.headers["reason"] for letter in self.letters]

    @property
    def messages(self) -> list[str]:
        return [decode(InferenceRejected, event.value).message for event in self.events]

    async def _publish_outcome(self, assignment, event):
        self.events.append(event)

    async def _dead_letter(self, assignment, letter):
        self.letters.append(letter)

    async def _refresh(self, assignment):
        return None

    async def _same(self, candidate):
        return candidate

    async def _call(self, assignment, action):
        return await action()

    async def _look_up(self, candidate):
        raise self._lookup

    async def _admit(self, request, limits):
        raise self._decision


def refused_so_far() -> float:
    return REQUESTS.labels("refused", "high", "no")._value.get()


async def test_a_refused_request_is_rejected_counted_and_kept():
    """A request that is refused for good before the decision gets an event with its ids, and its record becomes a dead letter."""
    undecided, before = Undecided(lookup=CheckpointError("no entry conv1")), refused_so_far()
    await undecided.admission.handle(RECORD, Assignment(1), low=False)
    assert (undecided.messages, undecided.reasons) == (["no entry conv1"], [b"refused"])
    assert decode(InferenceRejected, undecided.events[0].value).video_id == VIDEO.video_id
    assert refused_so_far() - before == 1


@pytest.mark.parametrize("decision", [ExtentsError("the row was refused"), RuntimeError("no such column")], ids=["refused", "unexpected"])
async def test_a_failed_request_is_answered_although_it_cannot_be_decided(decision):
    """A request whose decision fails is answered by an event with the error, and its dead letter has the traceback."""
    undecided = Undecided(decision=decision)
    await undecided.admission.give_up(RECORD, Assignment(1), ValueError("broke"), 3, low=False)
    (message,) = undecided.messages
    assert "ValueError: broke" in message
    assert undecided.reasons == [b"unexpected"]


async def test_a_request_is_not_overtaken_while_promotions_are_read():
    """Requests of one video are looked up in the order of their offsets, even if only the first one waits for the database."""
    undecided, offsets, pauses = Undecided(lookup=CheckpointError("no entry conv1")), [], iter([0.05, 0])

    async def refresh(assignment):
        await asyncio.sleep(next(pauses))

    async def look_up(candidate):
        offsets.append(candidate.record.offset)
        raise CheckpointError("no entry conv1")

    undecided.admission.orders.refresh, undecided.admission.lookup.look_up = refresh, look_up
    await asyncio.gather(*(undecided.admission.handle(record, Assignment(1), low=False) for record in (RECORD, replace(RECORD, offset=8))))
    assert offsets == [7, 8]


async def test_wrong_settings_end_the_process_while_a_failed_request_is_answered():
    """If settings turn out to be wrong while a failed request is answered, nothing is sent, and the record will be redelivered."""
    undecided = Undecided(decision=ConfigurationError("SUPABASE_SERVICE_ROLE_KEY is wrong"))
    with pytest.raises(ConfigurationError):
        await undecided.admission.give_up(RECORD, Assignment(1), ValueError("broke"), 3, low=False)
    assert (undecided.events, undecided.letters) == ([], [])


async def test_a_request_that_is_read_again_has_the_same_trace_and_event():
    """Each handling sends the same bytes and headers and records the same step; a failed step is recorded when its record is given up."""
    first, second = Undecided(lookup=CheckpointError("no entry conv1")), Undecided(lookup=ValueError("broke"), decision=ValueError("broke"))
    async with collecting() as collector:
        export = TracingSettings(_env_file=None, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        async with TraceExport(export, "coordinator", "g"):
            for _ in range(2):
                await first.admission.handle(RECORD, Assignment(1), low=False)
            with pytest.raises(ValueError, match="broke"):
                await second.admission.handle(OTHER, Assignment(1), low=False)
            await second.admission.give_up(OTHER, Assignment(1), ValueError("broke"), 3, low=False)
    assert first.events[0] == first.events[1]
    (once, again, given_up) = collector.named("admit")
    assert (once.trace, once.id) == (again.trace, again.id) != (given_up.trace, given_up.id)
    assert (once.parent, given_up.parent) == ("", "00f067aa0ba902b7")
    assert given_up.error == "broke"
    for event, step in ((first.events[0], once), (second.events[0], given_up)):
        assert event.headers["traceparent"].decode().split("-")[1:3] == [step.trace, step.id]
    assert "traceparent" not in first.letters[0].headers  # a dead letter has the headers that its record came with
    assert second.letters[0].headers["traceparent"] == OTHER.headers["traceparent"]
