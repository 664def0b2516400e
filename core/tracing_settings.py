"""The settings of traces: OpenTelemetry's own variables, so that a platform's settings work here too."""

import re
from typing import Final, Self
from urllib.parse import unquote

from pydantic import Field, SecretStr, model_validator

from core.redaction import register_secret
from core.variables import EnvironmentSettings, Printable, Secret, ServerUrl, section_config

KEY_LENGTH: Final = 16
"""A header's value of at least this length counts as a secret, whatever the header's name."""

_CREDENTIAL: Final = re.compile("auth|key|token|secret|password|cookie", re.IGNORECASE)


class TracingSettings(EnvironmentSettings):
    """[Traces](tracing.md) of runs, by OpenTelemetry's own variables. Off unless an endpoint is set."""

    model_config = section_config("")

    endpoint: ServerUrl | None = Field(
        None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Collector to which traces are sent over HTTP, such as http://tempo:4318; /v1/traces is added.",
    )
    traces_endpoint: ServerUrl | None = Field(
        None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", description="The same for traces alone, as a full URL; used instead."
    )
    headers: Secret | None = Field(
        None, validation_alias="OTEL_EXPORTER_OTLP_HEADERS", description="Headers of each export: name=value, comma-separated."
    )
    traces_headers: Secret | None = Field(
        None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_HEADERS", description="The same for traces alone; used instead."
    )
    protocol: str = Field(
        "http/protobuf",
        validation_alias="OTEL_EXPORTER_OTLP_PROTOCOL",
        description="http/protobuf; any other value disables traces.",
    )
    exporter: str = Field("otlp", validation_alias="OTEL_TRACES_EXPORTER", description="otlp; any other value disables traces.")
    sampler: str | None = Field(
        None,
        validation_alias="OTEL_TRACES_SAMPLER",
        description="Which traces are recorded; by default parentbased_always_on: all, unless the event's `traceparent` says not to.",
    )
    sampler_arg: str | None = Field(
        None, validation_alias="OTEL_TRACES_SAMPLER_ARG", description="Share of traces for traceidratio and parentbased_traceidratio."
    )
    service_name: Printable | None = Field(
        None, validation_alias="OTEL_SERVICE_NAME", description="Name of the process; by default extents-coordinator or extents-gpu-worker."
    )
    resource_attributes: Printable | None = Field(
        None, validation_alias="OTEL_RESOURCE_ATTRIBUTES", description="Attributes of the process: name=value, comma-separated."
    )
    sdk_disabled: bool = Field(False, validation_alias="OTEL_SDK_DISABLED", description="true disables traces whatever else is set.")

    @model_validator(mode="after")
    def _register_header_values(self) -> Self:
        """Mask each value separately, since a library may quote only one of them."""
        for pair in f"{_revealed(self.headers)},{_revealed(self.traces_headers)}".split(","):
            name, _, value = pair.partition("=")
            secret = unquote(value).strip().rpartition(" ")[2]  # without the name of a scheme, such as Bearer
            # A word such as the name of a tenant must not be masked wherever it appears.
            if len(secret) >= KEY_LENGTH or _CREDENTIAL.search(name):
                register_secret(secret)
        return self

    @property
    def wanted(self) -> bool:
        return self.endpoint_url is not None and self.exporter != "none" and not self.sdk_disabled

    @property
    def unsupported(self) -> str | None:
        """Why traces cannot be exported as these variables say."""
        for name, value, supported in (
            ("OTEL_TRACES_EXPORTER", self.exporter, "otlp"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", self.protocol, "http/protobuf"),
        ):
            if value != supported:
                return f"{name} is {value}; only {supported} is supported, which collectors usually receive on port 4318"
        return None

    @property
    def endpoint_url(self) -> str | None:
        return self.traces_endpoint or (f"{self.endpoint}/v1/traces" if self.endpoint else None)

    @property
    def export_headers(self) -> str:
        return _revealed(self.traces_headers or self.headers)

    def sdk_variables(self) -> dict[str, str]:
        """The variables that only the SDK reads."""
        values = {
            "OTEL_TRACES_SAMPLER": self.sampler,
            "OTEL_TRACES_SAMPLER_ARG": self.sampler_arg,
            "OTEL_SERVICE_NAME": self.service_name,
            "OTEL_RESOURCE_ATTRIBUTES": self.resource_attributes,
        }
        return {name: value for name, value in values.items() if value is not None}


def _revealed(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
