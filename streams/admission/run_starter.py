"""Starts an admitted run: ``run_started``, then its spans. Every step may be repeated."""

from dataclasses import dataclass, field, replace
from uuid import UUID

from core.errors import CorruptInputError
from core.frames import plan_spans
from core.logging import get_logger
from core.moments import utc
from core.settings import AdmissionSettings
from core.types import Priority
from storage.row_values import JobRow
from storage.rows import Rows
from streams.admission.candidate import INVALIDATES, Candidate, PinnedRun
from streams.admission.run_lookup import RunLookup
from streams.policy.redrive import HISTORY_HEADER, MAX_HISTORY_BYTES
from streams.publisher import Publisher
from streams.records import RunCancelled, RunJoined, RunStarted, Work
from streams.runtime.circuit_breaker import CircuitBreaker
from streams.runtime.concurrently import concurrently
from streams.runtime.run_once import RunOnce

log = get_logger(__name__)

RUNS_REMEMBERED = 10_000
"""How many started runs this process remembers, so that a redelivered request does not send their spans again."""


@dataclass(slots=True)
class RunStarter:
    settings: AdmissionSettings
    publisher: Publisher
    rows: Rows
    lookup: RunLookup
    database_breaker: CircuitBreaker
    started: RunOnce = field(default_factory=lambda: RunOnce(RUNS_REMEMBERED))

    async def start(self, candidate: Candidate) -> None:
        """Start the admitted attempt. An attempt that has already ended is left alone."""
        assert candidate.answer is not None
        run_id, attempt = UUID(candidate.answer.run_id), candidate.answer.attempt
        assert attempt is not None
        running = False
        if candidate.answer.repeated:
            job = await self.database_breaker.call(candidate.assignment, lambda: self.rows.find_job(run_id))
            if job is None or _has_ended(job, attempt):
                return
            running = job.status == "running"
            if candidate.pinned is None or candidate.pinned.pins.run_id != run_id:  # the default model may have changed since the decision
                request = replace(candidate.request, run_id=run_id, model_version=job.model_version)
                candidate = replace(candidate, request=request, pinned=None, model_chosen=None)
        try:
            pinned = candidate.pinned or await self._pin_again(candidate)
        except INVALIDATES as error:
            if running:  # the run's log has begun, so its spans or its deadline decide the outcome
                video_id = str(candidate.request.video_id)
                log.warning("request.repeated_without_data", run_id=str(run_id), video_id=video_id, attempt=attempt, error=str(error))
            else:
                await self._cancel(candidate, run_id, attempt, str(error))
            return
        admitted_run = PinnedRun(pinned.pins.model_copy(update={"attempt": attempt}), pinned.model_path)
        await self.started.run(
            (run_id, attempt, candidate.request.request_id), candidate.assignment, lambda: self._send(candidate, admitted_run)
        )

    async def _pin_again(self, candidate: Candidate) -> PinnedRun:
        """Pin a run that was admitted earlier. Current limits do not apply to it."""
        if candidate.video is None:
            rejection = candidate.request.rejection
            assert rejection is not None
            raise CorruptInputError(rejection.message)
        return await self.lookup.pin(candidate)

    async def _send(self, candidate: Candidate, admitted_run: PinnedRun) -> None:
        """Send ``run_started`` and then the spans, each with confirmation."""
        pins, run_id, record = admitted_run.pins, admitted_run.pins.run_id, candidate.record
        high = pins.priority is Priority.HIGH
        started = RunStarted(
            **pins.model_dump(exclude={"schema_version"}),
            request=candidate.ref,
            requested_at=utc(record.timestamp_ms),
            deadline_seconds=self.settings.deadline_high_seconds if high else self.settings.deadline_low_seconds,
            untaken_seconds=self.settings.untaken_seconds,
            estimated_cost_usd=candidate.request.estimated_cost_usd or 0.0,
            gpu_usd_per_hour=self.settings.gpu_usd_per_hour,
            model_checkpoint_path=admitted_run.model_path,
            model_chosen=candidate.model_chosen,
        )
        await self.publisher.append_to_run_log(candidate.assignment, str(run_id), started.to_bytes())
        headers = {} if candidate.ref.trace is None else candidate.ref.trace.headers()
        history = record.headers.get(HISTORY_HEADER, b"")
        if 0 < len(history) <= MAX_HISTORY_BYTES:
            headers[HISTORY_HEADER] = history
        partitions = self.publisher.topics.settings.work_partitions
        first = run_id.int % partitions  # runs start at different partitions, so that short runs spread as well
        await concurrently(
            self.publisher.send_work(
                candidate.assignment,
                pins.priority,
                f"{run_id}:{span.index}".encode(),
                Work(**pins.model_dump(exclude={"schema_version"}), span=span.index).to_bytes(),
                partition=(first + span.index) % partitions,
                headers=headers,
            )
            for span in plan_spans(pins.frame_count)
        )

    async def _cancel(self, candidate: Candidate, run_id: UUID, attempt: int, error: str) -> None:
        """Cancel an admitted run whose data or model disappeared before all of its spans were sent.

        Only the log knows whether the run was started, so the request and the cancellation are both appended to it.
        """
        now = utc(candidate.record.timestamp_ms)
        reason = f"input disappeared before the run was started: {error}"
        for record in (
            RunJoined(run_id=run_id, attempt=attempt, request=candidate.ref),
            RunCancelled(run_id=run_id, attempt=attempt, reason=reason, cancelled_at=now),
        ):
            await self.publisher.append_to_run_log(candidate.assignment, str(run_id), record.to_bytes())


def _has_ended(job: JobRow, attempt: int) -> bool:
    return job.attempt > attempt or job.status in ("completed", "failed")
