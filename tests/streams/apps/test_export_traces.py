"""When a worker exports traces, and what it logs if it cannot."""

import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from core.tracing_settings import TracingSettings
from streams.apps.observability import export_traces

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://tempo:4318/"}


class App:
    """Keeps the resources that would be opened at the start."""

    def __init__(self) -> None:
        self.resources: list[object] = []

    def manage_resource(self, *resources: object) -> None:
        self.resources += resources


def exports(**variables: str) -> tuple[int, list[str]]:
    """Return how many exports these variables start, and the log lines about them."""
    app = App()
    with capture_logs() as lines:
        export_traces(app, TracingSettings(_env_file=None, **variables), "coordinator", "g")
    return len(app.resources), [line["error"] for line in lines]


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({}, 0),
        (ENDPOINT, 1),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://tempo:4318/v1/traces"}, 1),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, 0),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, 0),
    ],
)
def test_an_endpoint_turns_traces_on(variables, count):
    """Without an endpoint, or with OpenTelemetry's switches set, there are no traces; neither is logged."""
    assert exports(**variables) == (count, [])


def test_the_path_is_added_to_the_general_endpoint():
    """The endpoint for traces takes precedence and is used unchanged."""
    alone = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://jaeger:4318/own"}
    assert TracingSettings(_env_file=None, **ENDPOINT).endpoint_url == "http://tempo:4318/v1/traces"
    assert TracingSettings(_env_file=None, **ENDPOINT, **alone).endpoint_url == "http://jaeger:4318/own"


@pytest.mark.parametrize(("name", "value"), [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_EXPORTER", "zipkin")])
def test_another_protocol_is_named(name, value):
    """A worker works even if its traces cannot be exported; the log says what is supported."""
    count, (error,) = exports(**ENDPOINT, **{name: value})
    assert count == 0
    assert error.startswith(f"{name} is {value}; only ")


def test_a_missing_extra_is_named(monkeypatch):
    """With an endpoint but without the packages, the worker works, and the log says what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # None makes an import fail as if the package were not installed
    monkeypatch.delitem(sys.modules, "streams.runtime.otlp", raising=False)
    count, (error,) = exports(**ENDPOINT)
    assert count == 0
    assert "http://tempo:4318/v1/traces" in error
    assert "run make setup in a checkout, or build the image with --build-arg EXTRAS=tracing" in error


def test_nothing_is_imported_unless_it_is_used():
    """A worker that exports no traces loads none of the packages."""
    program = (
        "import sys, streams.apps.coordinator, streams.apps.gpu_worker\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "[]"
