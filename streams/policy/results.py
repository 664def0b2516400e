"""Packs the results of spans, and assembles them into the finished run. Pure, so that every coordinator builds the same run."""

import base64
import binascii
from uuid import UUID

import numpy as np
import numpy.typing as npt
import orjson

from core.errors import PoisonError
from core.frames import plan_span
from core.moments import parse_moment
from core.runs import FinishedRun
from core.types import LABELS
from streams.policy.run_state import RunState
from streams.records import SpanDone


def encode_probabilities(probabilities: npt.NDArray[np.float32]) -> str:
    """Encode (pairs, 2, 5) as base64 of little-endian float32: 27 KB for a span, where JSON numbers would take 100 KB."""
    return base64.b64encode(probabilities.astype("<f4").tobytes()).decode()


def pack_span(record: SpanDone) -> bytes:
    """Pack one span's result as the table stores it: a line of JSON metadata, then the raw float32.

    Raises:
        PoisonError: the span is not one of the video's, or its probabilities are malformed, too many or too few, or outside 0..1.
    """
    try:
        raw = base64.b64decode(record.probabilities, validate=True)
        pairs = plan_span(record.span, record.frame_count).pair_count
    except (binascii.Error, ValueError) as error:
        raise PoisonError(f"span {record.span} of run {record.run_id}: {error}") from error
    if len(raw) != pairs * 2 * len(LABELS) * 4:
        raise PoisonError(
            f"span {record.span} of run {record.run_id}: {len(raw)} bytes of probabilities, expected {pairs * 40} for {pairs} pairs"
        )
    values = np.frombuffer(raw, "<f4")
    if not bool(((values >= 0) & (values <= 1)).all()):  # also false for NaN
        raise PoisonError(f"span {record.span} of run {record.run_id}: a probability is not finite or not within 0..1")
    about = {
        "done_at": record.done_at,
        "worker": record.worker,
        "device": record.device,
        "engine": record.engine,
        "gpu_seconds": record.gpu_seconds,
        "span_seconds": record.span_seconds,
    }
    return orjson.dumps(about) + b"\n" + raw


def assemble(state: RunState, spans: list[bytes]) -> FinishedRun:
    """Build the finished run from a state whose spans are all done. ``spans`` are the results of ``pack_span`` in span order."""
    started = state.started
    if started is None or state.started_working_at is None or len(spans) != state.spans:
        raise ValueError(f"run {state.run_id} is not complete: {len(spans)} of {state.spans} spans")
    heads, blocks = zip(*(span.split(b"\n", 1) for span in spans), strict=True)
    abouts = [orjson.loads(head) for head in heads]
    parts = [np.frombuffer(block, "<f4").reshape(-1, 2, len(LABELS)) for block in blocks]
    started_at = parse_moment(state.started_working_at)
    completed_at = max(parse_moment(about["done_at"]) for about in abouts)
    milliseconds = [np.full(len(part), 1000.0 * about["gpu_seconds"] / len(part)) for part, about in zip(parts, abouts, strict=True)]
    engine = {
        key: ", ".join(sorted({about["engine"][key] for about in abouts if key in about["engine"]}))
        for about in abouts
        for key in about["engine"]
    }
    width, height = state.frame_size or [0, 0]
    gpu_seconds = float(sum(about["gpu_seconds"] for about in abouts))
    return FinishedRun(
        run_id=UUID(state.run_id),
        attempt=state.attempt,
        request_id=started.request.request_id,
        tenant_id=started.tenant_id,
        video_id=started.video_id,
        cropped_frames_version=started.cropped_frames_version,
        model_version=started.model_version,
        model_checkpoint_path=started.model_checkpoint_path,
        started_at=started_at,
        completed_at=completed_at,
        processing_time_seconds=max(0.0, (completed_at - started_at).total_seconds()),
        gpu_seconds=gpu_seconds,
        provenance={
            **engine,
            "attempt": str(state.attempt),
            "checkpoint_sha256": started.checkpoint_sha256,
            "device": ", ".join(sorted({about["device"] for about in abouts})),
            "event_id": started.request.event_id or "",
            "frame_size": f"{width}x{height}",
            "gpu_seconds": f"{gpu_seconds:.6f}",
            "layout_sha256": started.layout_sha256,
            **({"model_chosen": started.model_chosen} if started.model_chosen else {}),
            "precision": started.precision.value,
            **({"replay_id": started.request.replay_id} if started.request.replay_id else {}),
            "request_id": str(started.request.request_id),
            "workers": ", ".join(sorted({about["worker"] for about in abouts})),
        },
        probabilities=np.concatenate(parts),
        pair_milliseconds=np.concatenate(milliseconds),
    )
