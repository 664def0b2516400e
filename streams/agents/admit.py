"""Admits ``video.encoded`` records in four steps: read, look up, decide, act."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from core.admission import AdmissionAnswer, AdmissionRequest, Decision, Rejection
from core.errors import ConfigurationError, ExtentsError, PermanentError
from core.logging import get_logger
from core.metrics import REQUESTS
from core.settings import AdmissionSettings
from core.types import Priority, RejectionType
from storage.rows import Rows
from streams.admission.candidate import Candidate
from streams.admission.rejections import Rejections
from streams.admission.run_lookup import RunLookup
from streams.admission.run_starter import RunStarter
from streams.admission.standing_orders import StandingOrders
from streams.coordinator.late_answers import LateAnswers
from streams.policy.dead_letters import dead_letter_of, unexpected_letter
from streams.policy.outcomes import deduplicated
from streams.policy.record_failures import describe_failure
from streams.policy.replay_plan import REPLAY_HEADER
from streams.policy.requests import UnidentifiedRequest, admission_limits, read_request
from streams.publisher import Publisher
from streams.received import ReceivedRecord
from streams.records import InferenceCompleted, RunJoined
from streams.runtime.assignment import Assignment, AssignmentRevoked
from streams.runtime.circuit_breaker import CircuitBreaker
from streams.runtime.tracing import Step, begin, record_step, step
from streams.runtime.turns import Turns

log = get_logger(__name__)

MARKER_CERTAIN = timedelta(days=13)
"""For this long after a run's end, its log is certain to have the marker that says how it ended and which requests it answered.

A marker is kept for a day longer.
"""

LOW_PAUSE_SECONDS = 5.0
"""Pause between two checks of the limits that a low-priority request waits for."""


@dataclass(slots=True)
class Admission:
    """Handles the records of both request topics. Every step may be repeated; its receivers recognise repeats."""

    settings: AdmissionSettings
    publisher: Publisher
    rows: Rows
    lookup: RunLookup
    starter: RunStarter
    late: LateAnswers
    database_breaker: CircuitBreaker
    orders: StandingOrders
    rejections: Rejections
    _turns: Turns = field(default_factory=Turns)

    async def handle(self, record: ReceivedRecord, assignment: Assignment, *, low: bool) -> None:
        """Decide one request and send what the decision requires. Returns when both are durable."""
        with begin(record_step("admit", record, repeats=True)) as admitting:
            await self._admit(replace(record, continued=admitting.trace), assignment, admitting, low=low)

    async def _admit(self, record: ReceivedRecord, assignment: Assignment, admitting: Step, *, low: bool) -> None:
        with step("read"):
            async with self._turns.take("read", assignment):  # a request that waits here must not be overtaken by the next one
                await self.orders.refresh(assignment)
                read = read_request(record, self.settings, self.orders.choose, low=low)
        if isinstance(read, UnidentifiedRequest):
            admitting.note(decision="undecodable")
            REQUESTS.labels("undecodable", Priority.LOW if low else Priority.HIGH, _replay(record.header(REPLAY_HEADER))).inc()
            log.warning("request.refused", **record.log_fields, reason="undecodable", error=read.message)
            await self.rejections.reject_unidentified(record, assignment, read.message)
            await self.publisher.dead_letter(assignment, dead_letter_of(record, "undecodable", read.message))
            return
        candidate = Candidate(record, assignment, read.request, read.video, read.ref, model_chosen=read.model_chosen)
        admitting.note(**_described(read.request))
        try:
            admitting.note(**_decided(await self._handle(candidate, low=low)))
        except ConfigurationError:
            raise  # the settings are wrong, not the record: the process ends with the message
        except PermanentError as error:
            admitting.note(decision="refused")
            REQUESTS.labels("refused", read.request.priority, _replay(read.request.replay_id)).inc()
            rejection = Rejection(RejectionType.VALIDATION_FAILED, str(error))
            await self.rejections.reject_without_row(candidate, rejection, "refused")

    async def _handle(self, candidate: Candidate, *, low: bool) -> Candidate:
        key = (candidate.record.topic, candidate.request.video_id)
        async with self._turns.take(key, candidate.assignment):  # in the order of the offsets
            if low:
                await self._wait_for_low(candidate)
            with step("look_up"):
                candidate = await self.orders.refuse_purged(candidate)
                candidate = await self.lookup.look_up(candidate)
            with step("decide"):
                candidate = await self.orders.refuse_over_budget(candidate)
                candidate = await self._decide(candidate)
        with step("act"):
            await self._act(candidate)
        return candidate

    async def give_up(self, record: ReceivedRecord, assignment: Assignment, error: Exception, tries: int, *, low: bool) -> None:
        """Answer a request whose handling failed unexpectedly: a promised run is cancelled, any other request rejected."""
        message = describe_failure(error, tries)
        with begin(record_step("admit", record, repeats=True)) as admitting:
            admitting.fail(error)
            record = replace(record, continued=admitting.trace)
            try:
                await self._answer_failed(record, assignment, message, low=low)
            except (AssignmentRevoked, ConfigurationError):
                raise
            except Exception as also:  # most likely the same error again: the event then has the received key instead of ids
                log.warning("request.not_answered_by_its_ids", **record.log_fields, error=repr(also))
                await self.rejections.reject_unidentified(record, assignment, message)
            await self.publisher.dead_letter(assignment, unexpected_letter(record, error, tries))

    async def _answer_failed(self, record: ReceivedRecord, assignment: Assignment, message: str, *, low: bool) -> None:
        read = read_request(record, self.settings, self.orders.choose, low=low)
        if isinstance(read, UnidentifiedRequest):
            await self.rejections.reject_unidentified(record, assignment, message)
            return
        rejection = Rejection(RejectionType.VALIDATION_FAILED, message)
        candidate = Candidate(record, assignment, read.request, None, read.ref).rejected(rejection)
        try:
            decided = await self._decide(candidate)
        except ConfigurationError:
            raise
        except ExtentsError:
            await self.rejections.reject(candidate, rejection)
        else:
            await self._act(decided)

    async def _wait_for_low(self, candidate: Candidate) -> None:
        """Wait until there are fewer unfinished low-priority jobs than their limit, and part of the day's budget is left.

        A request that was decided earlier does not wait: its own job may be among the unfinished ones and may have used up the budget.
        """
        call, request_id = self.database_breaker.call, candidate.request.request_id
        while not await self._has_room_for_low(candidate.assignment):
            if await call(candidate.assignment, lambda: self.rows.find_answer(request_id)) is not None:
                return
            await candidate.assignment.until_revoked(asyncio.sleep(LOW_PAUSE_SECONDS))

    async def _has_room_for_low(self, assignment: Assignment) -> bool:
        unfinished = await self.database_breaker.call(assignment, lambda: self.rows.count_unfinished(Priority.LOW))
        return unfinished < self.settings.low_jobs_limit and await self.orders.over_budget(assignment) is None

    async def _decide(self, candidate: Candidate) -> Candidate:
        """Let the database decide under its lock. A stored decision is returned again."""
        limits = admission_limits(self.settings)
        while True:
            request = candidate.request
            answer = await self.database_breaker.call(candidate.assignment, lambda: self.rows.admit(request, limits))  # noqa: B023
            if answer.decision is not Decision.RECHECK:
                break
            candidate = await self.lookup.find_run(candidate)  # a run of this video has finished meanwhile
        REQUESTS.labels(answer.decision, request.priority, _replay(request.replay_id)).inc()
        log.info(
            "request.decided",
            request_id=str(request.request_id),
            video_id=str(request.video_id),
            run_id=str(answer.run_id),
            decision=answer.decision,
            attempt=answer.attempt,
            repeated=answer.repeated,
            priority=request.priority,
        )
        return replace(candidate, answer=answer)

    async def _act(self, candidate: Candidate) -> None:
        assert candidate.answer is not None
        match candidate.answer.decision:
            case Decision.RUN:
                await self.starter.start(candidate)
            case Decision.JOIN:
                await self._join(candidate, candidate.answer)
            case Decision.FOUND:
                await self._answer(candidate, candidate.answer)
            case Decision.REJECTED:
                assert candidate.answer.rejection is not None
                if candidate.answer.recorded:
                    await self.rejections.reject(candidate, candidate.answer.rejection)
                else:
                    await self.rejections.reject_without_row(candidate, candidate.answer.rejection, "unknown_video")
            case Decision.RECHECK:  # _decide never returns this decision
                raise AssertionError(candidate.answer)

    async def _join(self, candidate: Candidate, answer: AdmissionAnswer) -> None:
        if answer.repeated and await self._answer_from_job(candidate, UUID(answer.run_id)):
            return
        joined = RunJoined(run_id=UUID(answer.run_id), attempt=answer.attempt or 1, request=candidate.ref)
        await self.publisher.append_to_run_log(candidate.assignment, str(answer.run_id), joined.to_bytes())

    async def _answer_from_job(self, candidate: Candidate, run_id: UUID) -> bool:
        """Answer a repeated join from the job if the log may have forgotten the run: appended to the log, it would wait forever."""
        job = await self.database_breaker.call(candidate.assignment, lambda: self.rows.find_job(run_id))
        if job is None or job.completed_at is None or job.status not in ("completed", "failed"):
            return False
        if datetime.now(UTC) - job.completed_at < MARKER_CERTAIN:
            return False
        await self.late.answer_repeated(job, candidate.ref, candidate.record.timestamp_ms, candidate.assignment)
        return True

    async def _answer(self, candidate: Candidate, answer: AdmissionAnswer) -> None:
        assert answer.found_run is not None
        summary = InferenceCompleted.model_validate_json(answer.found_run["event"])
        await self.publisher.publish_outcome(candidate.assignment, deduplicated(summary, candidate.ref, candidate.record.timestamp_ms))


def _described(request: AdmissionRequest) -> dict[str, str | int | None]:
    """The attributes of a request in a trace."""
    return {
        "request_id": str(request.request_id),
        "video_id": str(request.video_id),
        "tenant_id": str(request.tenant_id),
        "priority": request.priority.value,
        "model_version": request.model_version,
        "replay_id": request.replay_id,
    }


def _decided(candidate: Candidate) -> dict[str, str | int | None]:
    answer, frames = candidate.answer, candidate.request.frame_count
    assert answer is not None
    return {
        "decision": answer.decision.value,
        "run_id": None if answer.run_id is None else str(answer.run_id),
        "attempt": answer.attempt,
        "pairs": None if frames is None else max(0, frames - 1),
        "rejection_type": None if answer.rejection is None else answer.rejection.type.value,
    }


def _replay(replay_id: str | None) -> str:
    return "no" if replay_id is None else "yes"
