"""A collector of traces: receives OTLP over HTTP, as Jaeger and Tempo do, and keeps the spans."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse


@dataclass(frozen=True, slots=True)
class Received:
    """One span, its ids in hexadecimal; ``parent`` is empty for the first of a trace."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    kind: int
    attributes: dict[str, Any]
    error: str | None
    events: list[dict[str, Any]]
    links: list[str]
    raw: str


@dataclass(slots=True)
class Collector:
    url: str = ""
    spans: list[Received] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def named(self, name: str, trace: str | None = None) -> list[Received]:
        return [span for span in self.spans if span.name == name and trace in (None, span.trace)]

    async def receive(self, request: web.Request) -> web.Response:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        exported = ExportTraceServiceRequest.FromString(await request.read())
        for resource in exported.resource_spans:
            service = {item.key: item.value.string_value for item in resource.resource.attributes}["service.name"]
            self.spans += [_received(service, span) for scope in resource.scope_spans for span in scope.spans]
        return web.Response(body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf")


def _received(service: str, span: Any) -> Received:
    attributes = {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}
    return Received(
        service=service,
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=span.kind,
        attributes=attributes,
        error=span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else None,
        events=[MessageToDict(event) for event in span.events],
        links=[link.trace_id.hex() for link in span.links],
        raw=str(span),
    )


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector at a free port, in this event loop."""
    collector, application = Collector(), web.Application()
    application.router.add_post("/v1/traces", collector.receive)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield collector
    finally:
        await runner.cleanup()
