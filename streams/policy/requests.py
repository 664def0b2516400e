"""Reads a request from its record and applies the limits that need only the record. The first failed check rejects it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from core.admission import AdmissionLimits, AdmissionRequest, Rejection
from core.errors import PoisonError
from core.identity import request_id, run_id
from core.model_choice import ModelChoice
from core.settings import AdmissionSettings, variable
from core.types import Priority, RejectionType
from streams.policy.replay_plan import REPLAY_HEADER
from streams.received import ReceivedRecord
from streams.records import Id, RequestRef, VideoEncoded, decode


@dataclass(frozen=True, slots=True)
class UnidentifiedRequest:
    """A record without usable ids, so no row can be written for it."""

    message: str


@dataclass(frozen=True, slots=True)
class IdentifiedRequest:
    """A request with ids. ``video`` is None if other fields are unusable; ``request.rejection`` then gives the reason."""

    request: AdmissionRequest
    video: VideoEncoded | None
    ref: RequestRef
    model_chosen: str | None = None


class _Ids(BaseModel):
    tenant_id: Id
    video_id: Id


def _read_ids(value: bytes | None) -> _Ids | None:
    try:
        return _Ids.model_validate_json(value or b"", strict=True)
    except ValidationError:
        return None


def read_request(
    record: ReceivedRecord, settings: AdmissionSettings, default_model: Callable[[UUID, UUID], ModelChoice], *, low: bool
) -> UnidentifiedRequest | IdentifiedRequest:
    """Read one request and apply the limits that need only the record.

    Args:
        default_model: chooses the model of a request that names none, by tenant and video.
        low: whether the record comes from the low-priority topic.
    """
    try:
        video = decode(VideoEncoded, record.value)
    except PoisonError as error:
        ids = _read_ids(record.value)
        return UnidentifiedRequest(str(error)) if ids is None else _unusable(record, ids, str(error), low=low)
    choice = default_model(video.tenant_id, video.video_id)
    if video.model_version is not None:
        choice = ModelChoice(video.model_version, "named by the request")
    model = choice.version
    video = video.model_copy(update={"model_version": model, "priority": Priority.LOW if low else video.priority})
    source = video.event_id or f"{record.topic}/{record.partition}/{record.offset}"
    identity = request_id(video.tenant_id, video.video_id, video.cropped_frames_version, source)
    run = run_id(video.tenant_id, video.video_id, video.cropped_frames_version, model, identity if video.force else None)
    request = AdmissionRequest(
        request_id=identity,
        tenant_id=video.tenant_id,
        video_id=video.video_id,
        run_id=run,
        cropped_frames_version=video.cropped_frames_version,
        model_version=model,
        frame_count=video.frame_count,
        priority=video.priority,
        force=video.force,
        event_id=video.event_id,
        replay_id=record.header(REPLAY_HEADER),
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
        estimated_cost_usd=estimated_cost_usd(video.frame_count, settings),
    )
    request = replace(request, rejection=check_limits(video.frame_count, request.estimated_cost_usd or 0.0, settings))
    return IdentifiedRequest(request, video, _reference(record, identity, video.event_id), choice.reason)


def estimated_cost_usd(frame_count: int, settings: AdmissionSettings) -> float:
    """Return the cost of the pairs at the expected pairs per second and the price of a GPU hour."""
    return max(0, frame_count - 1) / settings.expected_pairs_per_second / 3600 * settings.gpu_usd_per_hour


def admission_limits(settings: AdmissionSettings) -> AdmissionLimits:
    return AdmissionLimits(**{name: getattr(settings, name) for name in AdmissionLimits.__dataclass_fields__})


def check_limits(frame_count: int, cost_usd: float, settings: AdmissionSettings) -> Rejection | None:
    if frame_count < 2:
        return Rejection(RejectionType.VALIDATION_FAILED, f"frame_count is {frame_count}; a pair needs at least 2 frames")
    if frame_count > settings.max_frame_count:
        limit = f"the limit is {settings.max_frame_count} ({variable(AdmissionSettings, 'max_frame_count')})"
        return Rejection(RejectionType.FRAME_COUNT_EXCEEDED, f"frame_count is {frame_count}; {limit}")
    if cost_usd > settings.max_cost_usd:
        basis = f"{frame_count - 1} pairs at {settings.expected_pairs_per_second:g} a second and ${settings.gpu_usd_per_hour:g} an hour"
        limit = f"the limit is ${settings.max_cost_usd:.2f} ({variable(AdmissionSettings, 'max_cost_usd')})"
        return Rejection(RejectionType.COST_EXCEEDED, f"estimated cost is ${cost_usd:.2f} ({basis}); {limit}")
    return None


def _unusable(record: ReceivedRecord, ids: _Ids, message: str, *, low: bool) -> IdentifiedRequest:
    """Build the request of a record with valid ids but other invalid fields. Usable fields are kept."""
    fields = from_json(record.value or b"{}")  # the parser that read the ids; others refuse input that it accepts, such as NaN

    def integer(name: str) -> int | None:
        value = fields.get(name)
        return value if type(value) is int and abs(value) < 2**31 else None

    def text(name: str) -> str | None:
        value = fields.get(name)
        return value[:200] if isinstance(value, str) and value else None

    event_id, version = text("event_id"), integer("cropped_frames_version")
    # The whole event_id, although only its beginning is kept: events may differ after it.
    source = fields["event_id"] if event_id else f"{record.topic}/{record.partition}/{record.offset}"
    identity = request_id(ids.tenant_id, ids.video_id, version or 0, source)
    request = AdmissionRequest(
        request_id=identity,
        tenant_id=ids.tenant_id,
        video_id=ids.video_id,
        run_id=None,
        cropped_frames_version=version,
        model_version=text("model_version"),
        frame_count=integer("frame_count"),
        priority=Priority.LOW if low or fields.get("priority") == Priority.LOW else Priority.HIGH,
        force=fields.get("force") is True,
        event_id=event_id,
        replay_id=record.header(REPLAY_HEADER),
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
        estimated_cost_usd=None,
        rejection=Rejection(RejectionType.VALIDATION_FAILED, message),
    )
    return IdentifiedRequest(request, None, _reference(record, identity, event_id))


def _reference(record: ReceivedRecord, request: UUID, event_id: str | None) -> RequestRef:
    trace = record.trace
    return RequestRef(
        request_id=request,
        event_id=event_id,
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
        traceparent=trace.traceparent if trace else None,
        tracestate=trace.tracestate if trace else None,
        replay_id=record.header(REPLAY_HEADER),
    )
