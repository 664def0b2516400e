"""The AsyncAPI 3 document: channels, who sends and receives on them, keys, headers and retention."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, Final

import orjson

from core.metrics import REASON
from streams.records import Record
from streams.topics import TopicSpec
from tools.contracts.channels import CHANNELS, Channel, default_specs
from tools.contracts.examples import EXAMPLES, event_headers
from tools.contracts.schemas import OUTCOMES, SCHEMAS

_SCHEMA_FORMAT: Final = "application/schema+json;version=draft-07"
_BINDING: Final = "0.5.0"

_TRACE: Final = {
    "traceparent": {"type": "string", "description": "W3C trace context of the request, continued if traces are exported."},
    "tracestate": {"type": "string", "description": "Its second header, at most 512 characters."},
}
_REPLAY: Final = {"replay_id": {"type": "string", "description": "Set by a replay and stored with the job."}}
_CLOUD_EVENT: Final = {
    "ce_specversion": {"const": "1.0"},
    "ce_id": {"type": "string", "format": "uuid", "description": "Identical when the same outcome is sent again."},
    "ce_type": {"type": "string", "pattern": r"^extents\.inference\.[a-z]+\.v1$"},
    "ce_source": {"type": "string"},
    "ce_time": {"type": "string", "format": "date-time", "description": "Taken from the records, not from the sender's clock."},
    "content-type": {"const": "application/json"},
}
_TRIES: Final = {
    "attempt": {"type": "string", "pattern": "^[0-9]+$", "description": "How often the record was resent."},
    "not_before": {"type": "string", "description": "Seconds since 1970 until which the record is delayed."},
    "origin": {"type": "string", "description": "topic/partition/offset at which it was first read."},
    "avoid": {"type": "string", "pattern": "^[0-9]+(,[0-9]+)*$", "description": "Partitions of workers on which its model did not load."},
}
_DEAD: Final = {
    "origin": {"type": "string", "description": "topic/partition/offset at which it was first read."},
    "reason": {"type": "string", "description": f"One of: {', '.join(REASON.values)}."},
    "error": {"type": "string", "description": "What happened, at most 1 KB."},
    "tries": {"type": "string", "pattern": "^[0-9]+$"},
    "traceback": {"type": "string", "description": "Where an unexpected error was raised: the last 8 KB."},
    "run_id": {"type": "string", "format": "uuid", "description": "Present if the record belonged to a run."},
}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document; its messages refer to the schemas beside it."""
    specs = default_specs()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Extents",
            "version": version("extents"),
            "description": "Finds where every burnt-in caption of a video starts and ends. Topic names take the prefix "
            "EXTENTS_TOPIC_PREFIX; partition counts are the defaults. Unknown fields are ignored, so that producers can be upgraded first.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {channel.topic: _channel(channel, specs[channel.topic]) for channel in CHANNELS},
        "operations": dict(_operations()),
        "components": {"messages": {name: _message(name) for name in [*SCHEMAS, "inference.dead-letter"]}},
    }


def _channel(channel: Channel, spec: TopicSpec) -> dict[str, Any]:
    name = channel.schema or channel.topic
    config: dict[str, Any] = {"cleanup.policy": spec.config["cleanup.policy"].split(","), "retention.ms": int(spec.config["retention.ms"])}
    if "max.message.bytes" in spec.config:
        config["max.message.bytes"] = int(spec.config["max.message.bytes"])
    return {
        "address": channel.topic,
        "description": channel.about,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {"kafka": {"partitions": spec.partitions, "topicConfiguration": config, "bindingVersion": _BINDING}},
    }


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for channel in CHANNELS:
        reference = {"$ref": f"#/channels/{channel.topic}"}
        message = [{"$ref": f"#/channels/{channel.topic}/messages/{channel.schema or channel.topic}"}]
        for action, agents in (("send", channel.written_by), ("receive", channel.read_by)):
            for agent in agents:
                if agent != "platform":
                    yield f"{agent}.{action}.{channel.topic}", {"action": action, "channel": reference, "messages": message}


def _message(name: str) -> dict[str, Any]:
    key = next(channel.key for channel in CHANNELS if name in (channel.schema, channel.topic))
    message: dict[str, Any] = {
        "name": name,
        "contentType": "application/json" if name in SCHEMAS else "application/octet-stream",
        "headers": _headers(name),
        "bindings": {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": _BINDING}},
    }
    if name in SCHEMAS:
        message["payload"] = {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": f"schemas/{name}.json"}}
        message["examples"] = [_example(kind) for kind in SCHEMAS[name]]
    return message


def _example(kind: type[Record]) -> dict[str, Any]:
    example = {"name": kind.__name__, "payload": orjson.loads(EXAMPLES[kind].to_bytes())}
    return {**example, "headers": dict(event_headers(kind))} if kind in OUTCOMES else example


def _headers(name: str) -> dict[str, Any]:
    if name in ("inference.completed", "inference.rejected", "inference.failed"):
        return {"type": "object", "properties": {**_CLOUD_EVENT, **_TRACE}, "required": sorted(_CLOUD_EVENT)}
    if name == "inference.dead-letter":
        return {"type": "object", "properties": _DEAD, "required": ["error", "origin", "reason", "tries"]}
    properties = {"inference.work": {**_TRIES, **_TRACE}, "inference.results": _TRACE, "video.encoded": {**_REPLAY, **_TRACE}}.get(name, {})
    return {"type": "object", "properties": properties}
