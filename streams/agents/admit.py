"""Takes ``video.encoded`` in: checks each request, has it decided once, and starts, joins, finds or rejects its run."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from faust.types import EventT, Message

from core.admission import AdmissionAnswer, AdmissionRequest, Decision, Rejection
from core.errors import ConfigurationError, CorruptInputError, MissingObjectError, PermanentError, RefusedObjectError, UnknownModelError
from core.frames import plan_spans
from core.logging import get_logger
from core.metrics import REJECTIONS, REQUESTS
from core.settings import AdmissionSettings, variable
from core.types import Priority, RejectionType
from storage.keys import Keys
from storage.layouts import fetch_layout
from storage.objects import ObjectStore
from storage.presence import missing_chunks
from storage.row_values import JobRow
from storage.rows import Rows
from streams.admission import Identified, Received, Unidentified, admission_limits, read_request
from streams.announcer import Announcer
from streams.app import Tenure, record_headers
from streams.concurrently import concurrently
from streams.dead_letters import dead_letter
from streams.found_runs import FoundRuns
from streams.models import ModelCatalog
from streams.once import Once
from streams.outcomes import found, rejected
from streams.patience import Dependency
from streams.records import (
    InferenceCompleted,
    InferenceRejected,
    Origin,
    Pins,
    RequestRef,
    RunCancelled,
    RunJoined,
    RunStarted,
    VideoEncoded,
    Work,
)
from streams.redrive import HISTORY_HEADER, MAX_HISTORY_BYTES

log = get_logger(__name__)

T = TypeVar("T")

_INVALID = (UnknownModelError, MissingObjectError, CorruptInputError, RefusedObjectError)
"""What makes a request invalid when its model, layout or chunks are looked up."""
RUNS_REMEMBERED = 10_000
"""Runs that this process has started: an event that is delivered several times does not send their spans several times."""
LOW_JOBS_PAUSE_SECONDS = 5.0
"""Between two looks at the number of unfinished low-priority jobs, while it is at its limit."""


@dataclass(frozen=True, slots=True)
class _Pinned:
    """What a run is started with; ``model_path`` is recorded for people."""

    pins: Pins
    model_path: str


@dataclass(slots=True)
class Admission:
    """What the two admitting agents do with a record. Every step may be repeated: its receivers know it again."""

    settings: AdmissionSettings
    announcer: Announcer
    store: ObjectStore
    keys: Keys
    rows: Rows
    catalog: ModelCatalog
    found_runs: FoundRuns
    objects_away: Dependency
    rows_away: Dependency
    started: Once = field(default_factory=lambda: Once(RUNS_REMEMBERED))

    async def handle(self, event: EventT[bytes], tenure: Tenure, *, low: bool) -> None:
        """Bring one request to its decision, and its consequence on its way. Returns when both are durable."""
        received = _received(event.message, low=low)
        try:
            await self._handle(received, tenure)
        except ConfigurationError:
            raise  # nothing is wrong with the record: the process ends, and says what to mend
        except PermanentError as error:
            await self._refuse(tenure, received, str(error), "refused")

    async def _handle(self, received: Received, tenure: Tenure) -> None:
        read = read_request(received, self.settings, self.settings.model_version or self.catalog.default_version)
        if isinstance(read, Unidentified):
            await self._refuse(tenure, received, read.message, "undecodable")
            return
        if received.low:
            await self._wait_for_low(tenure, read.asked.request_id)
        asked, pinned = read.asked, None
        if asked.rejection is None and read.video is not None:
            asked, pinned = await self._look_up(tenure, asked, read.video)
        answer = await self._decide(tenure, asked)
        REQUESTS.labels(answer.decision, asked.priority).inc()
        bound = log.bind(request_id=str(asked.request_id), video_id=str(asked.video_id), run_id=str(answer.run_id))
        bound.info("request.decided", decision=answer.decision, attempt=answer.attempt, repeated=answer.repeated, priority=asked.priority)
        match answer.decision:
            case Decision.RUN:
                await self._start(tenure, received, read, answer, pinned)
            case Decision.JOIN:
                joined = RunJoined(run_id=UUID(_known(answer.run_id)), attempt=answer.attempt or 1, request=read.ref)
                await self.announcer.log_run(tenure, str(answer.run_id), joined.to_bytes())
            case Decision.FOUND:
                summary = InferenceCompleted.model_validate_json(_known(answer.found_run)["event"])
                await self.announcer.announce(tenure, found(summary, read.ref, received.timestamp_ms))
            case Decision.REJECTED:
                await self._reject(tenure, received, asked, read.ref, _known(answer.rejection))
            case Decision.RECHECK:  # _decide asks again until it is another
                raise AssertionError(answer)

    async def _wait_for_low(self, tenure: Tenure, request_id: UUID) -> None:
        """Wait until fewer low-priority jobs are unfinished than the limit allows. One that was decided is among those already."""
        while await self.rows_away.call(tenure, lambda: self.rows.count_unfinished(Priority.LOW)) >= self.settings.low_jobs_limit:
            if await self.rows_away.call(tenure, lambda: self.rows.find_answer(request_id)) is not None:
                return
            await tenure.during(asyncio.sleep(LOW_JOBS_PAUSE_SECONDS))

    async def _look_up(self, tenure: Tenure, asked: AdmissionRequest, video: VideoEncoded) -> tuple[AdmissionRequest, _Pinned | None]:
        """What store and catalogue say: a finished run, the pins of a new one, or why there can be none."""
        if not asked.force:
            asked = await self._look_for_run(tenure, asked)
            if asked.found_run is not None or asked.rejection is not None:
                return asked, None
        if video.frame_count >= self.settings.warn_frame_count:
            limit = variable(AdmissionSettings, "max_frame_count")
            log.warning(
                "request.large",
                video_id=str(video.video_id),
                frame_count=video.frame_count,
                limit=self.settings.max_frame_count,
                setting=limit,
            )
        try:
            return asked, await self._pin(tenure, asked, video)
        except _INVALID as error:
            return _invalid(asked, error), None

    async def _look_for_run(self, tenure: Tenure, asked: AdmissionRequest) -> AdmissionRequest:
        """Note the finished run that answers this request; where its object is gone, that it does not count; or why nobody can say."""
        version, model = _known(asked.cropped_frames_version), _known(asked.model_version)
        try:
            row, summary = await self.found_runs.look(tenure, asked.tenant_id, asked.video_id, version, model)
        except RefusedObjectError as error:
            return _invalid(asked, error)
        if row is None:
            return asked
        if summary is None:
            return replace(asked, found_run=None, gone_run_id=row.run_id)
        return replace(asked, found_run={"run_id": row.run_id, "event": summary.to_bytes().decode()}, gone_run_id=None)

    async def _pin(self, tenure: Tenure, asked: AdmissionRequest, video: VideoEncoded) -> _Pinned:
        """Everything that decides the run's result; raises what makes the request invalid."""
        tenant, version = video.tenant_id, video.cropped_frames_version
        model = await self.objects_away.call(tenure, lambda: self.catalog.resolve(_known(asked.model_version)))
        layout = await self.objects_away.call(tenure, lambda: fetch_layout(self.store, self.keys, tenant, video.video_id))
        missing = await self.objects_away.call(
            tenure, lambda: missing_chunks(self.store, self.keys, tenant, video.video_id, version, video.frame_count)
        )
        if missing is not None and not missing.version_exists:
            raise MissingObjectError(
                f"video {video.video_id} has no cropped frames of version {version}; encode it, or name a version that exists"
            )
        if missing is not None:
            there = f"{missing.expected - missing.count} of the {missing.expected} chunks of {video.frame_count} frames are there"
            raise MissingObjectError(f"{missing.first} is missing: {there}; upload the rest")
        pins = Pins(
            run_id=_known(asked.run_id),
            attempt=1,
            tenant_id=tenant,
            video_id=video.video_id,
            cropped_frames_version=version,
            frame_count=video.frame_count,
            model_version=model.version,
            checkpoint_sha256=model.checkpoint_sha256,
            precision=self.settings.precision,
            layout_sha256=layout.sha256,
            priority=video.priority,
        )
        return _Pinned(pins, model.path)

    async def _decide(self, tenure: Tenure, asked: AdmissionRequest) -> AdmissionAnswer:
        limits = admission_limits(self.settings)
        while True:
            question = asked
            answer = await self.rows_away.call(tenure, lambda: self.rows.admit(question, limits))  # noqa: B023 - awaited at once
            if answer.decision is not Decision.RECHECK:
                return answer
            asked = await self._look_for_run(tenure, asked)  # a run of this video was finished in the meantime

    async def _start(self, tenure: Tenure, received: Received, read: Identified, answer: AdmissionAnswer, pinned: _Pinned | None) -> None:
        """Send the run on its way; nothing when this attempt is over already."""
        run_id, attempt, running = UUID(_known(answer.run_id)), _known(answer.attempt), False
        asked = read.asked
        if answer.repeated:
            job = await self.rows_away.call(tenure, lambda: self.rows.find_job(run_id))
            if job is None or _settled(job, attempt):
                return
            running = job.status == "running"
            if pinned is None or pinned.pins.run_id != run_id:  # another model may be the default by now
                asked, pinned = replace(asked, run_id=run_id, model_version=job.model_version), None
        try:
            if pinned is None:  # it was decided before: what is limited or found since then does not count
                if read.video is None:
                    raise CorruptInputError(_known(asked.rejection).message)
                pinned = await self._pin(tenure, asked, read.video)
        except _INVALID as error:
            if running:  # its log has begun, and decides: by its spans, or by its deadline
                video_id = str(read.asked.video_id)
                log.warning("request.repeated_without_data", run_id=str(run_id), video_id=video_id, attempt=attempt, error=str(error))
            else:
                await self._give_up(tenure, received, read.ref, run_id, attempt, str(error))
            return
        sent = _Pinned(pinned.pins.model_copy(update={"attempt": attempt}), pinned.model_path)
        await self.started.take((run_id, attempt), tenure, lambda: self._send_run(tenure, received, read, sent))

    async def _send_run(self, tenure: Tenure, received: Received, read: Identified, pinned: _Pinned) -> None:
        """Send ``run_started``, then the spans, each confirmed."""
        pins, run_id = pinned.pins, pinned.pins.run_id
        high = pins.priority is Priority.HIGH
        started = RunStarted(
            **pins.model_dump(exclude={"schema_version"}),
            request=read.ref,
            requested_at=datetime.fromtimestamp(received.timestamp_ms / 1000, UTC),
            deadline_seconds=self.settings.deadline_high_seconds if high else self.settings.deadline_low_seconds,
            estimated_cost_usd=read.asked.estimated_cost_usd or 0.0,
            gpu_usd_per_hour=self.settings.gpu_usd_per_hour,
            model_checkpoint_path=pinned.model_path,
        )
        await self.announcer.log_run(tenure, str(run_id), started.to_bytes())
        topics = self.announcer.topics
        topic, partitions = topics.work_high if high else topics.work_low, topics.settings.work_partitions
        headers = {"traceparent": read.ref.traceparent.encode()} if read.ref.traceparent else {}
        history = received.headers.get(HISTORY_HEADER, b"")
        if 0 < len(history) <= MAX_HISTORY_BYTES:
            headers[HISTORY_HEADER] = history
        first = run_id.int % partitions  # runs begin at different partitions, so that short ones spread as well
        await concurrently(
            self.announcer.producer.send(
                tenure,
                topic,
                f"{run_id}:{span.index}".encode(),
                Work(**pins.model_dump(exclude={"schema_version"}), span=span.index).to_bytes(),
                partition=(first + span.index) % partitions,
                headers=headers,
            )
            for span in plan_spans(pins.frame_count)
        )

    async def _give_up(self, tenure: Tenure, received: Received, ref: RequestRef, run_id: UUID, attempt: int, error: str) -> None:
        """A run was promised, but before all of it was sent its data or model went away.

        Whether it was started nobody knows but its log: so that is told whom the end will answer, and decides.
        """
        now = datetime.fromtimestamp(received.timestamp_ms / 1000, UTC)
        reason = f"went away before the run was started: {error}"
        for record in (
            RunJoined(run_id=run_id, attempt=attempt, request=ref),
            RunCancelled(run_id=run_id, attempt=attempt, reason=reason, cancelled_at=now),
        ):
            await self.announcer.log_run(tenure, str(run_id), record.to_bytes())

    async def _reject(self, tenure: Tenure, received: Received, asked: AdmissionRequest, ref: RequestRef, rejection: Rejection) -> None:
        REJECTIONS.labels(rejection.type).inc()
        body = InferenceRejected(
            **_source(received),
            request_id=asked.request_id,
            event_id=asked.event_id,
            tenant_id=asked.tenant_id,
            video_id=asked.video_id,
            cropped_frames_version=asked.cropped_frames_version,
            frame_count=asked.frame_count,
            model_version=asked.model_version,
            priority=asked.priority,
            rejection_type=rejection.type,
            message=rejection.message,
            estimated_cost_usd=asked.estimated_cost_usd,
        )
        await self.announcer.announce(tenure, rejected(body, received.timestamp_ms, received.key, ref.traceparent))

    async def _refuse(self, tenure: Tenure, received: Received, message: str, reason: str) -> None:
        """No row can be written: the event carries the key as received, and the record is kept as a dead letter."""
        REQUESTS.labels(reason, Priority.LOW if received.low else Priority.HIGH).inc()
        REJECTIONS.labels(RejectionType.VALIDATION_FAILED).inc()
        log.warning(
            "request.refused", topic=received.topic, partition=received.partition, offset=received.offset, reason=reason, error=message
        )
        body = InferenceRejected(
            **_source(received),
            received_key=None if received.key is None else received.key[:200].decode(errors="replace"),
            rejection_type=RejectionType.VALIDATION_FAILED,
            message=message,
        )
        await self.announcer.announce(tenure, rejected(body, received.timestamp_ms, received.key, received.header("traceparent")))
        origin = Origin(topic=received.topic, partition=received.partition, offset=received.offset)
        await self.announcer.bury(tenure, dead_letter(received.key, received.value, received.headers, origin, reason, message, 0))


def _received(message: Message, *, low: bool) -> Received:
    return Received(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=int(1000 * message.timestamp),
        key=message.key,
        value=message.value,
        headers=record_headers(message),
        low=low,
    )


def _source(received: Received) -> Mapping[str, Any]:
    return {"source_topic": received.topic, "source_partition": received.partition, "source_offset": received.offset}


def _invalid(asked: AdmissionRequest, error: PermanentError) -> AdmissionRequest:
    return replace(asked, rejection=Rejection(RejectionType.VALIDATION_FAILED, str(error)))


def _settled(job: JobRow, attempt: int) -> bool:
    return job.attempt > attempt or job.status in ("completed", "failed")


def _known(value: T | None) -> T:
    """A value that the decision taken implies."""
    if value is None:
        raise AssertionError("the decision lacks a value that it implies")
    return value
