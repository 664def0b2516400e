"""The records of the topics as they appear on the wire: JSON objects with a ``schema_version``.

Unknown fields are ignored, so that producers can be upgraded first. The JSON Schemas in ``docs/contracts`` are generated from these.
"""

from typing import Annotated, Any, Final, Literal, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from core.errors import PoisonError
from core.identity import parse_uuid
from core.moments import Moment
from core.patterns import ModelVersion, Sha256
from core.trace_context import TraceContext
from core.types import Outcome, Precision, Priority, RejectionType


def _strict_uuid(value: Any) -> Any:
    return parse_uuid(value) if isinstance(value, str) else value


Id = Annotated[UUID, BeforeValidator(_strict_uuid)]
Integer = Annotated[int, Field(ge=-2_147_483_648, le=2_147_483_647)]
Version = Annotated[int, Field(ge=1, le=2_147_483_647)]
Count = Annotated[int, Field(ge=0, le=2_147_483_647)]
Attempt = Annotated[int, Field(ge=1, le=2_147_483_647)]
Offset = Annotated[int, Field(ge=0, le=2**63 - 1)]
Finite = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
"""Seconds, or dollars. JSON has neither NaN nor infinity: they would be written as null, which could not be read back."""


class Record(BaseModel):
    """Base of every record: immutable, strict about types, tolerant of unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", protected_namespaces=())

    schema_version: Literal[1] = 1

    def to_bytes(self) -> bytes:
        return orjson.dumps(self.model_dump(exclude_none=True), option=orjson.OPT_NON_STR_KEYS)


class RequestRef(Record):
    """Where a request came from. Outcome events list the requests that they answer."""

    request_id: Id
    event_id: str | None = None
    source_topic: str
    source_partition: Count
    source_offset: Offset
    traceparent: str | None = None
    """The trace of the request: as received, or that of its admission if traces are exported."""
    tracestate: str | None = None
    replay_id: str | None = None
    """The replay that sent the request."""

    @property
    def trace(self) -> TraceContext | None:
        return TraceContext.of(self.traceparent, self.tracestate)


class VideoEncoded(Record):
    """``video.encoded``: a video's cropped frames are in the store and can be processed."""

    tenant_id: Id
    video_id: Id
    cropped_frames_version: Version
    frame_count: Integer
    model_version: ModelVersion | None = None
    priority: Priority = Priority.HIGH
    force: bool = False
    event_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    occurred_at: Moment | None = None


class RunKey(Record):
    """The run and attempt that a record belongs to."""

    run_id: Id
    attempt: Attempt


class Pins(RunKey):
    """Everything that determines a span's result. A result whose pins differ from those of its run is refused."""

    tenant_id: Id
    video_id: Id
    cropped_frames_version: Version
    frame_count: Annotated[int, Field(ge=2, le=2_147_483_647)]
    model_version: ModelVersion
    checkpoint_sha256: Sha256
    precision: Precision
    layout_sha256: Sha256
    priority: Priority

    def pins(self) -> "Pins":
        return Pins(**{name: getattr(self, name) for name in Pins.model_fields})


class Work(Pins):
    """``inference.work.*``: one span to predict."""

    span: Count


class Cancelled(RunKey):
    """``inference.cancelled``: spend no more GPU time on this attempt."""

    reason: str


class RunStarted(Pins):
    """The first record of an attempt, confirmed before its spans are sent."""

    kind: Literal["run_started"] = "run_started"
    request: RequestRef
    requested_at: Moment
    deadline_seconds: Annotated[int, Field(ge=1, le=2_147_483_647)]
    untaken_seconds: Annotated[int, Field(ge=1, le=2_147_483_647)] | None = None
    """The run fails this many seconds after this record if no span was taken by then. Older records lack it; then it is 14 days."""
    estimated_cost_usd: Finite
    gpu_usd_per_hour: Finite
    model_checkpoint_path: str
    model_chosen: str | None = None
    """Why the run got its model: named by the request, by a promotion, by a setting, or built in."""

    @property
    def replay(self) -> bool:
        """Whether a replay requested the run."""
        return self.request.replay_id is not None


class RunJoined(RunKey):
    """Another request for a run in flight. The run's outcome answers it."""

    kind: Literal["run_joined"] = "run_joined"
    request: RequestRef


class Origin(Record):
    """The topic, partition and offset at which a record was first read."""

    topic: str
    partition: Count
    offset: Offset


class ReadWork(RunKey):
    """A work record as a worker received it. It becomes a dead letter if this record decides the run's outcome."""

    tries: Count = 0
    origin: Origin | None = None
    work_key: str | None = None
    work_headers: dict[str, str] = Field(default_factory=dict)
    work_value: str | None = None


class SpanTaken(ReadWork):
    """A worker is about to process a span. Confirmed before its network is loaded, and before it reaches the decoder or the GPU.

    Kafka does not count deliveries, so this record reveals a span that kills its workers.
    """

    kind: Literal["span_taken"] = "span_taken"
    span: Count
    worker: str
    taken_at: Moment


class SpanDone(Pins):
    """A worker has computed a span. ``probabilities`` is base64 of little-endian float32 (pairs, 2, 5)."""

    kind: Literal["span_done"] = "span_done"
    span: Count
    worker: str
    done_at: Moment
    frame_width: Annotated[int, Field(ge=1, le=2_147_483_647)]
    frame_height: Annotated[int, Field(ge=1, le=2_147_483_647)]
    device: str
    engine: dict[str, str]
    gpu_seconds: Finite
    span_seconds: Finite
    probabilities: str


class SpanFailed(ReadWork):
    """A worker has released a span (``final`` is false: one take no longer counts), or it failed for good, which fails the run."""

    kind: Literal["span_failed"] = "span_failed"
    span: Count
    worker: str
    failed_at: Moment
    final: bool
    error: str


class DeadlinePassed(RunKey):
    kind: Literal["deadline_passed"] = "deadline_passed"
    passed_at: Moment


class RunCancelled(RunKey):
    kind: Literal["run_cancelled"] = "run_cancelled"
    reason: str
    cancelled_at: Moment


class RunFinished(RunKey):
    """The outcome has been announced to the listed requests. Requests that join later are answered individually."""

    kind: Literal["run_finished"] = "run_finished"
    outcome: Outcome
    reason: str | None = None
    answered: list[Id]


LogRecord = Annotated[
    RunStarted | RunJoined | SpanTaken | SpanDone | SpanFailed | DeadlinePassed | RunCancelled | RunFinished, Field(discriminator="kind")
]
"""A record of ``inference.results``, which holds the log of each run."""

LOG_RECORD: TypeAdapter[LogRecord] = TypeAdapter(LogRecord)


class InferenceCompleted(Record):
    """``inference.completed``: a run has a result, which is stored at ``storage_key``."""

    run_id: str
    """A UUID, except for a run of the old service."""
    attempt: Count
    tenant_id: Id
    video_id: Id
    cropped_frames_version: Version
    model_version: ModelVersion
    deduplicated: bool
    storage_key: str
    size_bytes: Offset | None = None
    sha256: Sha256 | None = None
    """Size and hash are missing only for runs of the old service, which did not store them."""
    pairs: Count
    label_counts: dict[str, Count]
    caption_count: Count
    queue_seconds: Finite
    gpu_seconds: Finite
    total_seconds: Finite
    estimated_cost_usd: Finite
    requests: list[RequestRef]


class InferenceFailed(RunKey):
    """``inference.failed``: a run ended without a result; ``reason`` says why."""

    tenant_id: Id
    video_id: Id
    cropped_frames_version: Version
    model_version: ModelVersion
    outcome: Outcome
    reason: str
    spans_done: Count
    spans_total: Count
    requests: list[RequestRef]


class InferenceRejected(Record):
    """``inference.rejected``: a request will not be run. Ids are missing if the record did not contain valid ones."""

    request_id: Id | None = None
    event_id: str | None = None
    source_topic: str
    source_partition: Count
    source_offset: Offset
    received_key: str | None = None
    tenant_id: Id | None = None
    video_id: Id | None = None
    cropped_frames_version: Integer | None = None
    frame_count: Integer | None = None
    model_version: str | None = None
    priority: Priority | None = None
    rejection_type: RejectionType
    message: str
    estimated_cost_usd: Finite | None = None


R = TypeVar("R", bound=Record)

MAX_FAULTS: Final = 5
MAX_FAULT_LENGTH: Final = 300
"""A message must fit into an event and a log line, whatever the record contains."""


def decode(kind: type[R], value: bytes | None) -> R:
    """Parse one record.

    Raises:
        PoisonError: no value or not a JSON object, or fields are missing or have the wrong type; the message names them.
    """
    try:
        return kind.model_validate_json(_present(value))
    except ValidationError as error:
        raise PoisonError(f"not a {kind.__name__}: {describe(error)}") from None
    except PoisonError as error:
        raise PoisonError(f"not a {kind.__name__}: {error}") from None


def decode_log(value: bytes | None) -> LogRecord:
    """Parse one record of ``inference.results``.

    Raises:
        PoisonError: as for ``decode``.
    """
    try:
        return LOG_RECORD.validate_json(_present(value))
    except ValidationError as error:
        raise PoisonError(f"not a record of a run's log: {describe(error)}") from None
    except PoisonError as error:
        raise PoisonError(f"not a record of a run's log: {error}") from None


def _present(value: bytes | None) -> bytes:
    """Return the value.

    Raises:
        PoisonError: there is none.
    """
    if value is None:
        raise PoisonError("the record has no value (null, as a tombstone has); expected a JSON object")
    if not value:
        raise PoisonError("the record's value is empty; expected a JSON object")
    return value


def describe(error: ValidationError) -> str:
    """The first faults of a record, each with its field. Messages are truncated and contain no values, which may be of any size."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    messages = (f"{'.'.join(map(str, fault['loc'])) or 'record'}: {fault['msg']}" for fault in faults[:MAX_FAULTS])
    return "; ".join(fault if len(fault) <= MAX_FAULT_LENGTH else f"{fault[:MAX_FAULT_LENGTH]}…" for fault in messages)
