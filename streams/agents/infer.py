"""Handles work records: predicts their spans and appends the results to the run's log."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.errors import ConfigurationError, PermanentError, PoisonError, TransientError
from core.frames import plan_span
from core.logging import get_logger
from core.metrics import SPAN_WAIT, SPANS
from core.settings import WorkerSettings
from core.trace_context import exemplar
from core.types import Priority
from streams.gpu_worker.cancellations import Cancellations
from streams.gpu_worker.dead_lettered_work import DeadLetteredWork
from streams.gpu_worker.model_cache import ModelCache
from streams.gpu_worker.model_load_breaker import ModelLoadError
from streams.gpu_worker.predictor import LoadedModel, SpanPredictor
from streams.gpu_worker.span_frames import SpanFrames
from streams.gpu_worker.span_log import SpanLog, WorkDelivery
from streams.gpu_worker.span_slots import Slot, SpanSlots
from streams.gpu_worker.stages import stage
from streams.policy.dead_letters import origin_header
from streams.policy.results import encode_probabilities
from streams.publisher import Publisher
from streams.received import ReceivedRecord
from streams.records import SpanDone, Work, decode
from streams.runtime.assignment import Assignment, AssignmentRevoked
from streams.runtime.backoff import pause_after, with_jitter
from streams.runtime.circuit_breaker import CircuitBreaker
from streams.runtime.concurrently import concurrently
from streams.runtime.tracing import Step, begin, record_step

log = get_logger(__name__)

FIRST_PAUSE_SECONDS = 2.0
MAX_PAUSE_SECONDS = 30.0

MAX_WORK_BYTES = 64 * 1024
"""Our records have about one kilobyte, and more if a run that was redriven many times carries its history in a header."""


def check_size(record: ReceivedRecord) -> None:
    """Check that a work record fits into the log of its run, which quotes it in full.

    Raises:
        PoisonError: the record is larger than any that the coordinator sends.
    """
    size_bytes = len(record.value or b"") + sum(len(name) + len(value) for name, value in record.headers.items())
    if size_bytes > MAX_WORK_BYTES:
        raise PoisonError(f"a work record of {size_bytes} bytes; expected at most {MAX_WORK_BYTES}")


@dataclass(slots=True)
class Inference:
    """Handles the records of both work topics: each is predicted, released, resent, failed, or dead-lettered.

    Attributes:
        partitions: returns the partitions of a topic that are assigned to this worker.
    """

    settings: WorkerSettings
    publisher: Publisher
    cancellations: Cancellations
    slots: SpanSlots
    frames: SpanFrames
    predictor: SpanPredictor
    models: ModelCache
    store_breaker: CircuitBreaker
    partitions: Callable[[str], frozenset[int]]
    dead_lettered: DeadLetteredWork
    worker: str

    async def handle(self, record: ReceivedRecord, assignment: Assignment, priority: Priority) -> None:
        with begin(record_step("infer", record)) as inferring:
            await self._handle(record, assignment, priority, inferring)

    async def _handle(self, record: ReceivedRecord, assignment: Assignment, priority: Priority, inferring: Step) -> None:
        try:
            delivery = WorkDelivery.of(record, priority)
            check_size(record)
            work = decode(Work, record.value)
            plan_span(work.span, work.frame_count)
        except (PoisonError, ValueError) as error:
            inferring.fail(error)
            await self.dead_lettered.poison(record, assignment, str(error))
            return
        if delivery.tries == 0:
            SPAN_WAIT.labels(priority).observe(
                max(0.0, time.time() - record.timestamp_ms / 1000), exemplar(str(work.run_id), inferring.trace)
            )
        inferring.note(**_described(work), tries=delivery.tries)
        await self._wait_until(delivery.not_before, assignment)
        disposition = await self._settle(SpanLog(self.publisher, self.worker, work, delivery, assignment), inferring)
        inferring.note(disposition=disposition)
        SPANS.labels(disposition, priority).inc()

    async def _settle(self, span: SpanLog, inferring: Step) -> str:
        """Process a span until it is settled and that is durable. Returns the disposition, a label of the metric."""
        work, tries = span.work, span.delivery.tries
        bound = log.bind(run_id=str(work.run_id), video_id=str(work.video_id), span=work.span, attempt=work.attempt, tries=tries)
        try:
            return await self._predict(span)
        except TransientError as error:
            inferring.fail(error)
            if tries < self.settings.span_resends:
                bound.warning("span.sent_again", error=str(error))
                await self._resend(span, error)
                return "sent_again"
            bound.error("span.failed", error=str(error))
            await span.fail(f"{error}; given up after {tries + 1} tries")
        except ConfigurationError as error:
            await span.release(str(error))
            raise
        except PermanentError as error:
            inferring.fail(error)
            bound.error("span.failed", error=str(error))
            await span.fail(str(error))
        except AssignmentRevoked:
            if span.taken:
                await span.release("a rebalance or a stop began")
            raise
        return "failed"

    async def _predict(self, span: SpanLog) -> str:
        work = span.work
        quarantined = self.cancellations.is_quarantined(work)
        if not quarantined:
            await self._until_loaded(span)
        async with self.slots.slot(span.delivery.priority, span.assignment, alone=quarantined) as slot:
            if self.cancellations.covers(work):
                return "cancelled"
            started = time.monotonic()
            model = await self._load(span)
            done = await self._through_stages(model, span, slot, started)
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
        """Load the span's network before the span gets a slot. A low-priority span waits, without a limit, until the network loads.

        Raises:
            ModelLoadError: the network does not load here, and the span has high priority, so it does not wait.
        """
        while not self.cancellations.covers(span.work):
            try:
                await self._load(span)
                return
            except ModelLoadError as error:
                if span.delivery.priority is Priority.HIGH:
                    raise
                if span.taken:
                    await span.release(str(error))
                await span.assignment.until_revoked(asyncio.sleep(with_jitter(error.retry_seconds)))

    async def _load(self, span: SpanLog) -> LoadedModel:
        work, limit_seconds = span.work, self.settings.retry_in_place_seconds

        async def weights() -> Path:
            await span.take()  # loading a network may kill the process
            return await self.store_breaker.call(
                span.assignment, lambda: self.models.weights(work.model_version, work.checkpoint_sha256), limit_seconds=limit_seconds
            )

        loading = asyncio.ensure_future(self.predictor.load(work.model_version, work.checkpoint_sha256, work.precision, weights))
        loading.add_done_callback(lambda task: task.cancelled() or task.exception())  # retrieve the error even if no caller is left
        # Loading may take minutes. At a rebalance or shutdown the span is released, but the load continues for the next one.
        return await span.assignment.until_revoked(asyncio.shield(loading))

    async def _through_stages(self, model: LoadedModel, span: SpanLog, slot: Slot, started: float) -> SpanDone | None:
        """Fetch, decode, predict and send. Returns the result as sent, or None if the run was cancelled before the span was computed."""
        work, assignment = span.work, span.assignment
        await self.store_breaker.until_closed(assignment)  # a take without a result counts against the span if the worker dies
        _, layout, chunks = await concurrently(
            [span.take(), self.frames.layout(work, assignment), self.frames.fetch(work, slot, assignment)]
        )
        # The take is confirmed before the decoder or the device sees any byte of the span.
        frames = await self.frames.decode(work, chunks, slot, assignment)
        async with self.slots.device(span.delivery.priority, assignment):
            if self.cancellations.covers(work):
                return None
            with stage("predict", work):
                prediction = await self.predictor.predict(model, work, layout, frames)
        _, height, width, _ = frames.shape
        done = SpanDone(
            **work.model_dump(exclude={"schema_version"}),
            worker=self.worker,
            done_at=datetime.now(UTC),
            frame_width=width,
            frame_height=height,
            device=self.predictor.description,
            engine=prediction.engine,
            gpu_seconds=prediction.gpu_seconds,
            span_seconds=time.monotonic() - started,
            probabilities=encode_probabilities(prediction.probabilities),
        )
        with stage("send", work, topic=self.publisher.topics.results):
            await span.done(done)
        return done

    async def _resend(self, span: SpanLog, error: TransientError) -> None:
        """Send the same key and bytes to the end of the same topic, confirmed before the original is acknowledged."""
        await span.release(str(error))
        delivery, record, tries = span.delivery, span.delivery.record, span.delivery.tries + 1
        pause = pause_after(tries, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        headers = {
            **record.headers,
            "attempt": str(tries).encode(),
            "not_before": f"{time.time() + pause:.3f}".encode(),
            "origin": origin_header(delivery.origin),
        }
        partition = None
        if isinstance(error, ModelLoadError):
            avoid = delivery.avoid | self.partitions(record.topic)
            headers["avoid"] = ",".join(map(str, sorted(avoid))).encode()
            partition = self._other_partition(span.work, avoid)
        await self.publisher.send_work(
            span.assignment, delivery.priority, record.key, record.value or b"", partition=partition, headers=headers
        )

    def _other_partition(self, work: Work, avoid: frozenset[int]) -> int | None:
        """Return a partition outside of ``avoid``; None if there is none."""
        partitions = sorted(set(range(self.publisher.topics.settings.work_partitions)) - avoid)
        return partitions[work.span % len(partitions)] if partitions else None

    async def _wait_until(self, moment: float, assignment: Assignment) -> None:
        """Delay a resent record without holding a slot, for no longer than the longest pause."""
        pause = min(moment - time.time(), MAX_PAUSE_SECONDS)
        if pause > 0:
            await assignment.until_revoked(asyncio.sleep(pause))


def _described(work: Work) -> dict[str, str | int]:
    """The attributes of a span in a trace."""
    return {
        "run_id": str(work.run_id),
        "attempt": work.attempt,
        "span": work.span,
        "pairs": plan_span(work.span, work.frame_count).pair_count,
        "video_id": str(work.video_id),
        "tenant_id": str(work.tenant_id),
        "model_version": work.model_version,
        "precision": work.precision.value,
    }
