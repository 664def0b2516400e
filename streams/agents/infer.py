"""Takes work records, predicts their spans, and sends the results to the run's log."""

import asyncio
import os
import random
import socket
import time
from collections.abc import Callable, Mapping
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
from streams.dead_letters import dead_letter, origin_header
from streams.engine import Engine, LoadedModel
from streams.model_troubles import ModelTrouble
from streams.models import ModelCache
from streams.patience import Dependency
from streams.records import Origin, SpanDone, Work, decode
from streams.results import encode_probabilities
from streams.span_frames import SpanFrames
from streams.span_log import SpanLog, Try
from streams.span_room import Place, SpanRoom

log = get_logger(__name__)

MAX_PAUSE_SECONDS = 30.0

MAX_WORK_BYTES = 64 * 1024
"""Ours have about one kilobyte; a run that was redriven often carries its history in a header."""


def check_size(message: Message) -> None:
    """Raises: PoisonError: a record larger than any of ours. It goes whole into the log of its run, for which it might be too large."""
    found = len(message.value or b"") + sum(len(name) + len(value) for name, value in record_headers(message).items())
    if found > MAX_WORK_BYTES:
        raise PoisonError(f"a work record of {found} bytes; ours have at most {MAX_WORK_BYTES}")


@dataclass(slots=True)
class Inference:
    """What the two inferring agents do with a record: predicted, given back, sent again, failed, or set aside.

    Attributes:
        partitions: those of a topic that this worker has.
    """

    settings: WorkerSettings
    announcer: Announcer
    cancellations: Cancellations
    room: SpanRoom
    frames: SpanFrames
    engine: Engine
    models: ModelCache
    objects_away: Dependency
    partitions: Callable[[str], frozenset[int]]
    worker: str = f"{socket.gethostname()}:{os.getpid()}"

    async def handle(self, event: EventT[bytes], tenure: Tenure, priority: Priority) -> None:
        message = event.message
        try:
            attempt = Try.of(message, priority)
            check_size(message)
            work = decode(Work, message.value)
            plan_span(work.span, work.frame_count)
        except (PoisonError, ValueError) as error:
            await self._bury(tenure, message, str(error))
            return
        await self._wait_until(attempt.not_before, tenure)
        disposition = await self._settle(SpanLog(self.announcer, self.worker, work, attempt, tenure))
        SPANS.labels(disposition, priority).inc()

    async def _settle(self, span: SpanLog) -> str:
        """Bring a span to an end, whichever it is; its name is returned when that is durable."""
        work, tries = span.work, span.attempt.tries
        bound = log.bind(run_id=str(work.run_id), video_id=str(work.video_id), span=work.span, attempt=work.attempt, tries=tries)
        try:
            return await self._predict(span)
        except TransientError as error:
            if tries < self.settings.span_resends:
                bound.warning("span.sent_again", error=str(error))
                await self._send_again(span, error)
                return "sent_again"
            bound.error("span.failed", error=str(error))
            await span.fail(f"{error}; given up after {tries + 1} tries")
        except ConfigurationError as error:
            await span.give_back(str(error))
            raise
        except PermanentError as error:
            bound.error("span.failed", error=str(error))
            await span.fail(str(error))
        except TenureEnded:
            if span.taken:
                await span.give_back("a rebalance or a stop began")
            raise
        return "failed"

    async def _predict(self, span: SpanLog) -> str:
        work = span.work
        suspect = self.cancellations.suspects(work)
        if not suspect:
            await self._until_loaded(span)
        async with self.room.place(span.attempt.priority, span.tenure, alone=suspect) as place:
            if self.cancellations.covers(work):
                return "cancelled"
            started = time.monotonic()
            model = await self._load(span)
            done = await self._through_stages(model, span, place, started)
            if done is None:
                return "cancelled"
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

    async def _until_loaded(self, span: SpanLog) -> None:
        """Have the span's network loaded, before it is given a place. While it does not load here, low priority waits, uncounted.

        Raises:
            ModelTrouble: it does not load here, and high priority does not wait for that to pass.
        """
        while not self.cancellations.covers(span.work):
            try:
                await self._load(span)
                return
            except ModelTrouble as error:
                if span.attempt.priority is Priority.HIGH:
                    raise
                if span.taken:
                    await span.give_back(str(error))
                await span.tenure.during(asyncio.sleep(error.retry_seconds * random.uniform(1.0, 1.3)))  # noqa: S311 - jitter

    async def _load(self, span: SpanLog) -> LoadedModel:
        work, limit_seconds = span.work, self.settings.retry_in_place_seconds

        async def weights() -> Path:
            await span.take()  # a network may end the process that loads it
            return await self.objects_away.call(
                span.tenure, lambda: self.models.weights(work.model_version, work.checkpoint_sha256), limit_seconds=limit_seconds
            )

        loading = asyncio.ensure_future(self.engine.load(work.model_version, work.checkpoint_sha256, work.precision, weights))
        loading.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may be left to take its error
        # It may take minutes; when a rebalance or a stop begins, the span goes back, and the network is there for the next.
        return await span.tenure.during(asyncio.shield(loading))

    async def _through_stages(self, model: LoadedModel, span: SpanLog, place: Place, started: float) -> SpanDone | None:
        """What was sent as its result; None when its run was cancelled before it was computed."""
        work, tenure = span.work, span.tenure
        await self.objects_away.back(tenure)  # what is taken and not done when a worker dies counts against the span
        _, layout, chunks = await concurrently([span.take(), self.frames.layout(work, tenure), self.frames.fetch(work, place, tenure)])
        # That it was taken is confirmed before decoder or device see a byte of it.
        frames = await self.frames.decode(work, chunks, place, tenure)
        async with self.room.device(span.attempt.priority, tenure):
            if self.cancellations.covers(work):
                return None
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
        await span.done(done)
        STAGE_DURATION.labels("send").observe(time.monotonic() - sending)
        return done

    async def _send_again(self, span: SpanLog, error: TransientError) -> None:
        """The same bytes and key to the end of the same topic, confirmed, before the original is acknowledged."""
        await span.give_back(str(error))
        attempt, message, tries = span.attempt, span.attempt.message, span.attempt.tries + 1
        pause = min(MAX_PAUSE_SECONDS, 2.0**tries)
        headers = {
            **record_headers(message),
            "attempt": str(tries).encode(),
            "not_before": f"{time.time() + pause:.3f}".encode(),
            "origin": origin_header(attempt.origin),
        }
        partition = None
        if isinstance(error, ModelTrouble):
            avoid = attempt.avoid | self.partitions(message.topic)
            headers["avoid"] = ",".join(map(str, sorted(avoid))).encode()
            partition = self._elsewhere(span.work, avoid)
        await self.announcer.producer.send(
            span.tenure, message.topic, message.key, message.value or b"", partition=partition, headers=headers
        )

    def _elsewhere(self, work: Work, avoid: frozenset[int]) -> int | None:
        """A partition of another worker; None where there is no other."""
        others = sorted(set(range(self.announcer.topics.settings.work_partitions)) - avoid)
        return others[work.span % len(others)] if others else None

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
