"""Every setting of the service, read once from the environment (and ``.env``) when a process starts.

Each section is passed to the part that needs it. ``docs/configuration.md`` lists them all; a test fails if it does not.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self, TypeVar

from pydantic import Field, StringConstraints, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from core.errors import ConfigurationError
from core.patterns import ModelVersion
from core.tracing_settings import TracingSettings
from core.types import Precision
from core.variables import (
    BrokerList,
    EnvironmentSettings,
    Printable,
    ProjectUrl,
    Secret,
    ServerUrl,
    section_config,
    unknown_variables,
)
from core.variables import variable as variable  # re-exported for those who read settings

Section = TypeVar("Section", bound=EnvironmentSettings)
Schema = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]
Bucket = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$")]
Region = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class WasabiSettings(EnvironmentSettings):
    """The object store: Wasabi in production, any S3 server by its endpoint."""

    model_config = section_config("WASABI_")

    access_key: Printable = Field(description="Access key of the object store.")
    secret_key: Secret = Field(description="Secret key of the object store.")
    bucket: Bucket = Field(description="Bucket that holds videos, run databases and models.")
    region: Region = Field("us-east-1", description="Region, which also determines the default endpoint.")
    endpoint: ServerUrl | None = Field(None, description="Endpoint URL; by default Wasabi's in the region.")
    pool_size: int = Field(64, ge=1, description="Connections to the store that one process may hold open.")
    timeout_seconds: float = Field(30.0, gt=0, description="Timeout of a request to the store, in seconds.")

    @cached_property
    def endpoint_url(self) -> str:
        return self.endpoint or f"https://s3.{self.region}.wasabisys.com"


class SchemaSettings(EnvironmentSettings):
    """The schema that holds the tables: the only setting needed to print the migrations."""

    model_config = section_config("SUPABASE_")

    schema_name: Schema = Field("captionacc_production", validation_alias="SUPABASE_SCHEMA", description="Schema that holds the tables.")


class SupabaseSettings(SchemaSettings):
    """The database behind the web application, reached through its REST interface."""

    url: ProjectUrl = Field(description="Base URL of the project.")
    service_role_key: Secret = Field(description="Key of the service role, the only role that may write.")
    timeout_seconds: float = Field(30.0, gt=0, description="Timeout of a request to the database, in seconds.")


class KafkaSettings(EnvironmentSettings):
    """The brokers and the login to them."""

    model_config = section_config("KAFKA_")

    bootstrap_servers: BrokerList = Field(description="Comma-separated host:port of some brokers.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Protocol of the connections."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism, when the protocol is SASL_*."
    )
    sasl_username: str | None = Field(None, description="SASL user name.")
    sasl_password: Secret | None = Field(None, description="SASL password.")
    ssl_cafile: Path | None = Field(None, description="CA certificate file for the brokers; by default the system's CAs.")
    replication_factor: int = Field(3, ge=1, description="Replicas of each partition in topics that Extents creates.")
    min_insync_replicas: int = Field(2, ge=1, description="Replicas that must confirm a write.")
    session_timeout_seconds: float = Field(20.0, gt=0, description="Time without heartbeats after which a group removes a worker.")
    heartbeat_interval_seconds: float = Field(3.0, gt=0, description="Time between heartbeats; at most a third of the session timeout.")
    rebalance_timeout_seconds: float = Field(
        120.0, gt=0, description="How long a rebalance waits for members to finish their spans; longer than any span takes."
    )
    request_timeout_seconds: float = Field(180.0, gt=0, description="Timeout of a request to a broker; longer than the rebalance timeout.")

    @model_validator(mode="after")
    def _checked_together(self) -> Self:
        if self.security_protocol.startswith("SASL") and (self.sasl_username is None or self.sasl_password is None):
            raise _together(f"KAFKA_SECURITY_PROTOCOL={self.security_protocol} needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD")
        if 3 * self.heartbeat_interval_seconds > self.session_timeout_seconds:
            raise _together("KAFKA_HEARTBEAT_INTERVAL_SECONDS must be at most a third of KAFKA_SESSION_TIMEOUT_SECONDS")
        if self.request_timeout_seconds <= self.rebalance_timeout_seconds:
            raise _together("KAFKA_REQUEST_TIMEOUT_SECONDS must be above KAFKA_REBALANCE_TIMEOUT_SECONDS")
        return self

    @cached_property
    def servers(self) -> list[str]:
        return [server.strip() for server in self.bootstrap_servers.split(",") if server.strip()]


class TopicSettings(EnvironmentSettings):
    """Names and sizes of the topics."""

    model_config = section_config("EXTENTS_")

    topic_prefix: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,100}$", description="Prefix of every topic and consumer-group name.")
    request_partitions: int = Field(6, ge=1, description="Partitions of each video.encoded topic.")
    work_partitions: int = Field(64, ge=1, description="Partitions of each work topic: 4 to 8 for each GPU at the largest scale.")
    results_partitions: int = Field(
        12, ge=1, description="Partitions of inference.results. Fixed once created, since all records of a run are in one partition."
    )


class AdmissionSettings(EnvironmentSettings):
    """Admission limits, and the default model."""

    model_config = section_config("EXTENTS_")

    model_version: ModelVersion | None = Field(None, description="Model for requests that do not name one; by default the built-in model.")
    precision: Precision = Field(Precision.FLOAT32, description="Arithmetic of new runs: float32, bfloat16 or float16.")
    max_frame_count: int = Field(200_000, ge=2, description="Requests with more frames are rejected (frame_count_exceeded).")
    warn_frame_count: int = Field(180_000, ge=2, description="Requests with at least this many frames are logged as a warning.")
    max_cost_usd: float = Field(1.00, gt=0, description="Requests with a higher cost estimate are rejected (cost_exceeded).")
    daily_budget_usd: float | None = Field(
        None,
        gt=0,
        description="Cost limit of a UTC day. Above it, low-priority requests wait and high-priority ones are rejected (cost_exceeded).",
    )
    gpu_usd_per_hour: float = Field(1.10, gt=0, description="Price of a GPU hour, for cost estimates (default: an A10G).")
    expected_pairs_per_second: float = Field(100.0, gt=0, description="Pairs that a GPU computes per second, for cost estimates.")
    rate_limit_seconds: int = Field(600, ge=0, description="Forced runs of the same video within this time are rejected (rate_limited).")
    max_high_jobs_per_hour: int = Field(1000, ge=1, description="Most high-priority jobs admitted per hour (rate_limited).")
    max_high_jobs_per_hour_tenant: int = Field(200, ge=1, description="The same for one tenant.")
    queue_limit: int = Field(50, ge=1, description="Most high-priority jobs unfinished and within their deadline (queue_full).")
    queue_limit_tenant: int = Field(25, ge=1, description="The same for one tenant.")
    low_jobs_limit: int = Field(200, ge=1, description="Low-priority requests are read only while fewer low-priority jobs are unfinished.")
    admit_concurrency: int = Field(32, ge=1, description="Requests that one coordinator admits concurrently.")
    deadline_high_seconds: int = Field(3_600, ge=1, description="A high-priority run fails this long after its first span was taken.")
    deadline_low_seconds: int = Field(86_400, ge=1, description="The same for low priority.")
    untaken_seconds: int = Field(
        1_209_600, ge=1, le=2**31 - 1, description="A run fails this long after its start if none of its spans was ever taken."
    )


class FinishSettings(EnvironmentSettings):
    """Aggregating results and finishing runs."""

    model_config = section_config("EXTENTS_")

    aggregate_batch: int = Field(64, ge=1, description="Result records that one coordinator handles concurrently.")
    finish_concurrency: int = Field(4, ge=1, description="Runs that one coordinator finishes concurrently.")
    progress_interval_seconds: float = Field(5.0, gt=0, description="Minimum time between updates of a job's pairs_done.")


class WorkerSettings(EnvironmentSettings):
    """The GPU worker."""

    model_config = section_config("EXTENTS_")

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Device for the network; auto uses a CUDA device if there is one.")
    batch_size: int = Field(32, ge=1, description="Pairs in one forward pass.")
    compile: bool = Field(False, description="Compile the network at start-up (needs a C++ compiler on the CPU).")
    spans_in_flight: int = Field(
        3, ge=1, description="Spans that a worker holds: one is computed while the others are fetched and decoded."
    )
    spans_in_flight_bytes: int = Field(
        2_000_000_000, ge=1, description="Bytes of chunks and frames that a worker holds; a single span may take more."
    )
    fetch_concurrency: int = Field(32, ge=1, description="Objects fetched concurrently.")
    decode_threads: int = Field(2, ge=1, description="Threads that decode chunks.")
    span_resends: int = Field(
        3, ge=0, description="How often a span is resent to the end of its topic after a transient error, before its run fails."
    )
    retry_in_place_seconds: float = Field(30.0, ge=0, description="How long a transient error is retried before the span is resent.")
    fetch_limit_seconds: float = Field(120.0, gt=0, description="A fetch that runs longer counts as hung.")
    decode_limit_seconds: float = Field(60.0, gt=0, description="A decode that runs longer counts as hung.")
    predict_limit_seconds: float = Field(100.0, gt=0, description="A GPU call that runs longer ends the process with status 70.")
    model_load_limit_seconds: float = Field(600.0, gt=0, description="Loading and warming up a model that takes longer counts as hung.")
    compile_cache: Path = Field(Path("~/.cache/extents/compile"), description="Folder for compiled kernels, reused at the next start.")
    model_cache: Path = Field(Path("~/.cache/extents/models"), description="Folder for downloaded models.")


class ProcessSettings(EnvironmentSettings):
    """The log and the HTTP server of every process."""

    model_config = section_config("EXTENTS_")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Lowest level that is logged.")
    log_format: Literal["json", "text"] = Field("json", description="json for machines, text for people.")
    unexpected_tries: int = Field(
        3, ge=1, description="How often a record that fails unexpectedly is tried before it becomes a dead letter."
    )
    unexpected_in_a_row: int = Field(
        20, ge=1, description="Consecutive records of a topic that may become dead letters in this way before the process stops."
    )
    unexpected_per_thousand: int = Field(100, ge=1, le=1000, description="The same among the last thousand records of a topic.")
    heartbeat_seconds: float = Field(
        10.0, ge=0.1, le=600, description="Time between heartbeats to inference.workers; after three without one a worker counts as gone."
    )
    http_host: str = Field("127.0.0.1", description="Address of /metrics, /healthz and /readyz; the images set 0.0.0.0.")
    http_port: int = Field(9464, ge=0, le=65_535, description="Port of the HTTP server; 0 chooses a free port.")


class PageSettings(EnvironmentSettings):
    """The live page at /ui. It is off unless a token is set."""

    model_config = section_config("EXTENTS_PAGE_")

    viewer_token: Secret | None = Field(None, min_length=12, description="Token that allows reading everything.")
    operator_token: Secret | None = Field(None, min_length=12, description="Token that also allows actions, such as a redrive.")


class KeySettings(EnvironmentSettings):
    """Keys of objects in the bucket. The names in braces are filled in from validated ids only."""

    model_config = section_config("EXTENTS_KEY_")

    chunk: str = Field(
        "videos/{tenant_id}/{video_id}/cropped_frames_v{version}/{chunk}", description="A chunk; {chunk} is modulo_M/chunk_NNNNNNNNNN.webm."
    )
    layout: str = Field("videos/{tenant_id}/{video_id}/layout.db", description="The layout; the same key with .gz is tried next.")
    run_db: str = Field(
        "videos/{tenant_id}/{video_id}/caption_frame_extents/v{version}_model-{model_version_8}_run-{run_id}.db",
        description="A run database; {model_version_8} is the first 8 characters of the model version; "
        "{run_id_8}, the first 8 of the run id, may replace {run_id}.",
    )
    model: str = Field("models/caption_frame_extents/{model_version}/{file}", description="A file of a stored model.")


class SettingsError(ConfigurationError):
    """Variables are missing or wrong. ``faults`` names each of them, never its value."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults) + ". Settings come from the environment or .env: see docs/configuration.md.")
        self.faults = tuple(faults)


GPU_WORKER_SECTIONS: Final = ("kafka", "topics", "wasabi", "keys", "admission", "worker", "process", "tracing")
"""The sections that a GPU worker reads. It has no access to the database."""

ALL_SECTIONS: Final = (*GPU_WORKER_SECTIONS, "supabase", "finish", "page")
ROLE_SECTIONS: Final = {"coordinator": ALL_SECTIONS, "gpu": GPU_WORKER_SECTIONS}


class Settings:
    """All sections. Each is read, and its errors raised, on first use, so a command needs only the sections that it uses."""

    SECTIONS: ClassVar[tuple[type[EnvironmentSettings], ...]] = (
        KafkaSettings,
        TopicSettings,
        WasabiSettings,
        KeySettings,
        SupabaseSettings,
        AdmissionSettings,
        FinishSettings,
        WorkerSettings,
        ProcessSettings,
        PageSettings,
        TracingSettings,
    )

    @cached_property
    def kafka(self) -> KafkaSettings:
        return read_section(KafkaSettings)

    @cached_property
    def topics(self) -> TopicSettings:
        return read_section(TopicSettings)

    @cached_property
    def wasabi(self) -> WasabiSettings:
        return read_section(WasabiSettings)

    @cached_property
    def keys(self) -> KeySettings:
        return read_section(KeySettings)

    @cached_property
    def supabase(self) -> SupabaseSettings:
        return read_section(SupabaseSettings)

    @cached_property
    def admission(self) -> AdmissionSettings:
        return read_section(AdmissionSettings)

    @cached_property
    def finish(self) -> FinishSettings:
        return read_section(FinishSettings)

    @cached_property
    def worker(self) -> WorkerSettings:
        return read_section(WorkerSettings)

    @cached_property
    def page(self) -> PageSettings:
        return read_section(PageSettings)

    @cached_property
    def tracing(self) -> TracingSettings:
        return read_section(TracingSettings)

    @cached_property
    def process(self) -> ProcessSettings:
        return read_section(ProcessSettings)

    def unknown(self) -> list[str]:
        """Return a sentence for each variable with one of our prefixes that is not a setting, with the nearest name."""
        return unknown_variables(self.SECTIONS)

    def check(self, sections: Sequence[str] = ALL_SECTIONS) -> Self:
        """Read these sections now.

        Raises:
            SettingsError: names every variable that is missing or wrong in any of them.
        """
        faults: list[str] = []
        for name in sections:
            try:
                getattr(self, name)
            except SettingsError as error:
                faults += error.faults
        if faults:
            raise SettingsError(faults)
        return self


def _together(message: str) -> PydanticCustomError:
    """Return an error for settings that contradict each other; the message names them."""
    return PydanticCustomError("settings", message)


def read_section(section: type[Section]) -> Section:
    """Read one section from the environment.

    Raises:
        SettingsError: names every variable that is missing or wrong, never its value.
    """
    try:
        return section()
    except ValidationError as error:
        variables = {name.lower(): variable(section, name) for name in section.model_fields}
        faults = []
        for fault in error.errors(include_input=False, include_url=False):
            field = str(fault["loc"][0]) if fault["loc"] else ""
            name = variables.get(field.lower(), field)
            if fault["type"] == "missing":
                faults.append(f"{name} is not set")
            else:
                faults.append(f"{name}: {fault['msg']}" if name else fault["msg"])
        raise SettingsError(faults) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f".env cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}"]) from None
