"""Takes work records, predicts their spans, and sends the results to the run's log."""

import asyncio
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from faust.types import EventT, Message

from core.errors import ConfigurationError, PermanentError, PoisonError, TransientError
from core.frames import plan_span
from core.logging import get_logger
from core.metrics import SPANS, STAGE_DURATION
from core.settings import WorkerSettings
from core.types import Priority
from streams.announcer import Announcer
from streams.app import Tenure, TenureEnded, record_headers
from streams.cancellations import Cancellations
from streams.concurrently import concurrently
from streams.dead_letters import dead_letter, origin_header, parse_origin
from streams.engine import Engine, LoadedModel
from streams.models import ModelCache
from streams.patience import Dependency
from streams.records import Origin, SpanDone, SpanFailed, SpanTaken, Work, decode
from streams.results import encode_probabilities
from streams.span_frames import SpanFrames
from streams.span_room import Place, SpanRoom

log = get_logger(__name__)

MAX_PAUSE_SECONDS = 30.0
HAND_BACK_SECONDS = 5.0
"""A started span that a rebalance interrupts is noted as handed back, if that takes no longer."""
RESULT_SECONDS = 60.0
"""So long may a computed result still be sent when a rebalance has begun: the join waits for it."""


@dataclass(frozen=True, slots=True)
class Try:
    """A work record as it was read: which try this is, and where the first was."""

    message: Message
    priority: Priority
    tries: int
    not_before: float
    origin: Origin

    @classmethod
    def of(cls, message: Message, priority: Priority) -> "Try":
        headers = record_headers(message)
        here = Origin(topic=message.topic, partition=message.partition, offset=message.offset)
        try:
            origin = parse_origin(headers["origin"]) if "origin" in headers else here
            return cls(message, priority, int(headers.get("attempt", b"0")), float(headers.get("not_before", b"0")), origin)
        except ValueError as error:
            raise PoisonError(f"headers of a try that cannot be read: {error}") from error


@dataclass(slots=True)
class Inference:
    """What the two inferring agents do with a record: predicted, given back, sent again, failed, or set aside."""

    settings: WorkerSettings
    announcer: Announcer
    cancellations: Cancellations
    room: SpanRoom
    frames: SpanFrames
    engine: Engine
    models: ModelCache
    objects_away: Dependency
    worker: str = f"{socket.gethostname()}:{os.getpid()}"

    async def handle(self, event: EventT[bytes], tenure: Tenure, priority: Priority) -> None:
        message = event.message
        try:
            attempt = Try.of(message, priority)
            work = decode(Work, message.value)
            plan_span(work.span, work.frame_count)
        except (PoisonError, ValueError) as error:
            await self._bury(tenure, message, str(error))
            return
        await self._wait_until(attempt.not_before, tenure)
        disposition = await self._settle(work, attempt, tenure)
        SPANS.labels(disposition, priority).inc()

    async def _settle(self, work: Work, attempt: Try, tenure: Tenure) -> str:
        """Bring a span to an end, whichever it is; its name is returned when that is durable."""
        bound = log.bind(run_id=str(work.run_id), video_id=str(work.video_id), span=work.span, attempt=work.attempt, tries=attempt.tries)
        try:
            return await self._predict(work, attempt, tenure)
        except ConfigurationError:
            raise
        except TransientError as error:
            if attempt.tries + 1 < self.settings.span_tries:
                bound.warning("span.sent_again", error=str(error))
                await self._send_again(work, attempt, tenure, str(error))
                return "sent_again"
            bound.error("span.failed", error=str(error))
            await self._fail(work, attempt, tenure, f"{error}; given up after {self.settings.span_tries} tries")
        except PermanentError as error:
            bound.error("span.failed", error=str(error))
            await self._fail(work, attempt, tenure, str(error))
        return "failed"

    async def _predict(self, work: Work, attempt: Try, tenure: Tenure) -> str:
        async def weights() -> Path:
            limit_seconds = self.settings.retry_in_place_seconds
            return await self.objects_away.call(
                tenure, lambda: self.models.weights(work.model_version, work.checkpoint_sha256), limit_seconds=limit_seconds
            )

        model = await self.engine.load(work.model_version, work.checkpoint_sha256, work.precision, weights)
        async with self.room.place(attempt.priority, tenure) as place:
            if self.cancellations.covers(work):
                return "cancelled"
            started = time.monotonic()
            try:
                done = await self._through_stages(model, work, attempt, place, tenure, started)
            except TenureEnded:
                await self._give_back(work, tenure)
                raise
        log.info(
            "span.done",
            run_id=str(work.run_id),
            video_id=str(work.video_id),
            span=work.span,
            pairs=plan_span(work.span, work.frame_count).pair_count,
            gpu_seconds=round(done.gpu_seconds, 3),
            seconds=round(done.span_seconds, 3),
        )
        return "done"

    async def _through_stages(self, model: LoadedModel, work: Work, attempt: Try, place: Place, tenure: Tenure, started: float) -> SpanDone:
        taken = SpanTaken(run_id=work.run_id, attempt=work.attempt, span=work.span, worker=self.worker, taken_at=datetime.now(UTC))
        noted = self.announcer.log_run(tenure, str(work.run_id), taken.to_bytes())
        _, layout, chunks = await concurrently([noted, self.frames.layout(work, tenure), self.frames.fetch(work, tenure)])
        # That it was taken is confirmed before decoder or device see a byte of it.
        frames = await self.frames.decode(work, chunks, place, tenure)
        async with self.room.device(attempt.priority, tenure):
            computing = time.monotonic()
            prediction = await self.engine.predict(model, work, layout, frames)
            STAGE_DURATION.labels("predict").observe(time.monotonic() - computing)
        _, height, width, _ = frames.shape
        done = SpanDone(
            **work.model_dump(exclude={"schema_version"}),
            worker=self.worker,
            done_at=datetime.now(UTC),
            frame_width=width,
            frame_height=height,
            device=self.engine.description,
            engine=prediction.engine,
            gpu_seconds=prediction.gpu_seconds,
            span_seconds=time.monotonic() - started,
            probabilities=encode_probabilities(prediction.probabilities),
        )
        sending = time.monotonic()
        await self.announcer.log_run(tenure, str(work.run_id), done.to_bytes(), grace_seconds=RESULT_SECONDS)
        STAGE_DURATION.labels("send").observe(time.monotonic() - sending)
        return done

    async def _give_back(self, work: Work, tenure: Tenure, error: str = "a rebalance or a stop began") -> None:
        await self.announcer.log_run(
            tenure, str(work.run_id), self._failure(work, error, final=False).to_bytes(), grace_seconds=HAND_BACK_SECONDS
        )

    async def _send_again(self, work: Work, attempt: Try, tenure: Tenure, error: str) -> None:
        """The same bytes and key to the end of the same topic, confirmed, before the original is acknowledged."""
        await self._give_back(work, tenure, error)
        message, tries = attempt.message, attempt.tries + 1
        pause = min(MAX_PAUSE_SECONDS, 2.0**tries)
        headers = {
            **record_headers(message),
            "attempt": str(tries).encode(),
            "not_before": f"{time.time() + pause:.3f}".encode(),
            "origin": origin_header(attempt.origin),
        }
        await self.announcer.producer.send(tenure, message.topic, message.key, message.value or b"", headers=headers)

    async def _fail(self, work: Work, attempt: Try, tenure: Tenure, error: str) -> None:
        """Fail the run. Its dead letter is sent by whoever finishes it: one, however many of its spans fail."""
        message = attempt.message
        failure = self._failure(work, error, final=True).model_copy(
            update={
                "tries": attempt.tries,
                "origin": attempt.origin,
                "work_key": None if message.key is None else message.key.decode(errors="replace"),
                "work_headers": {name: value.decode(errors="replace") for name, value in record_headers(message).items()},
                "work_value": (message.value or b"").decode(),
            }
        )
        await self.announcer.log_run(tenure, str(work.run_id), failure.to_bytes())

    def _failure(self, work: Work, error: str, *, final: bool) -> SpanFailed:
        return SpanFailed(
            run_id=work.run_id,
            attempt=work.attempt,
            span=work.span,
            worker=self.worker,
            failed_at=datetime.now(UTC),
            final=final,
            error=error,
        )

    async def _wait_until(self, moment: float, tenure: Tenure) -> None:
        """Set the record aside: it holds no place while it waits, never longer than a pause can be."""
        pause = min(moment - time.time(), MAX_PAUSE_SECONDS)
        if pause > 0:
            await tenure.during(asyncio.sleep(pause))

    async def _bury(self, tenure: Tenure, message: Message, error: str) -> None:
        log.error("record.poison", topic=message.topic, partition=message.partition, offset=message.offset, error=error)
        origin = Origin(topic=message.topic, partition=message.partition, offset=message.offset)
        headers: Mapping[str, bytes] = record_headers(message)
        await self.announcer.bury(tenure, dead_letter(message.key, message.value, headers, origin, "poison", error, 0))
        SPANS.labels("poison", "unknown").inc()
