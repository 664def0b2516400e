"""Runs inference over a local folder, without broker, store or database."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid5

import numpy as np
import numpy.typing as npt

from cli.film.engine import Engine, Model
from cli.film.local_video import LocalVideo
from cli.shared.output import Report
from core.frames import Span, plan_spans, span_chunks
from core.identity import LOCAL_TENANT, NAMESPACE, request_id, run_id
from core.runs import FinishedRun
from inference.arrays import Frames
from inference.engine.provenance import describe_engine, describe_hardware
from inference.media.span import decode_span


def run_locally(video: LocalVideo, model: Model, engine: Engine, report: Report) -> FinishedRun:
    """Predict every pair of a video. The next span is read and decoded while the current one is computed.

    The run's ids depend only on the video's content and the model, so that a run has the same id on every machine.

    Raises:
        CheckpointError: the checkpoint does not fit its architecture.
        CorruptInputError: a chunk cannot be decoded, or frames differ in size.
    """
    predictor = engine.load(model)
    opened = predictor.open_video(video.layout)
    started_at = datetime.now(UTC)
    pairs = video.frame_count - 1
    probabilities: list[npt.NDArray[np.float32]] = []  # a span each, (pairs, 2, 5)
    milliseconds: list[npt.NDArray[np.float64]] = []
    seconds = 0.0
    height = width = done = 0
    report(0, pairs)
    for span, frames in _decoded_spans(video):
        began = time.perf_counter()
        probabilities.append(predictor.predict(opened, frames))
        took = time.perf_counter() - began
        seconds += took
        milliseconds.append(np.full(span.pair_count, 1000 * took / span.pair_count))
        height, width = frames.shape[1:3]
        done += span.pair_count
        report(done, pairs)
    completed_at = datetime.now(UTC)

    video_id = uuid5(NAMESPACE, f"local/{video.sha256}")
    return FinishedRun(
        run_id=run_id(LOCAL_TENANT, video_id, video.version, model.version),
        attempt=1,
        request_id=request_id(LOCAL_TENANT, video_id, video.version, "local"),
        tenant_id=LOCAL_TENANT,
        video_id=video_id,
        cropped_frames_version=video.version,
        model_version=model.version,
        model_checkpoint_path=model.recorded_path,
        started_at=started_at,
        completed_at=completed_at,
        processing_time_seconds=(completed_at - started_at).total_seconds(),
        gpu_seconds=seconds,
        provenance={
            **describe_engine(predictor.options),
            "checkpoint_sha256": model.sha256,
            "device": describe_hardware(predictor.options),
            "frame_size": f"{width}x{height}",
            "layout_sha256": video.layout_sha256,
            "precision": predictor.options.precision.value,
        },
        probabilities=np.concatenate(probabilities),
        pair_milliseconds=np.concatenate(milliseconds),
    )


def _decoded_spans(video: LocalVideo) -> Iterator[tuple[Span, Frames]]:
    def decode(span: Span) -> Frames:
        chunks = {chunk.name: video.read_chunk(chunk.name) for chunk in span_chunks(span, video.frame_count)}
        return decode_span(span, video.frame_count, chunks)

    spans = plan_spans(video.frame_count)
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as ahead:
        following = ahead.submit(decode, spans[0])
        for span, after in zip(spans, [*spans[1:], None], strict=True):
            frames = following.result()
            if after is not None:
                following = ahead.submit(decode, after)
            yield span, frames
