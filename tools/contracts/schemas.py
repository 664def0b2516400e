"""JSON Schema of every record."""

import functools
import operator
from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic import TypeAdapter

from streams import records
from streams.policy import heartbeats
from streams.policy import quarantine as suspects
from streams.records import Record
from tools.contracts.examples import EXAMPLES

LOG_RECORDS: Final[tuple[type[Record], ...]] = (
    records.RunStarted,
    records.RunJoined,
    records.SpanTaken,
    records.SpanDone,
    records.SpanFailed,
    records.DeadlinePassed,
    records.RunCancelled,
    records.RunFinished,
)
OUTCOMES: Final[tuple[type[Record], ...]] = (records.InferenceCompleted, records.InferenceRejected, records.InferenceFailed)


SCHEMAS: Final[Mapping[str, tuple[type[Record], ...]]] = {
    "video.encoded": (records.VideoEncoded,),
    "inference.work": (records.Work,),
    "inference.results": LOG_RECORDS,
    "inference.cancelled": (records.Cancelled, suspects.QuarantineNotice),
    "inference.completed": (records.InferenceCompleted,),
    "inference.rejected": (records.InferenceRejected,),
    "inference.failed": (records.InferenceFailed,),
    "inference.workers": (heartbeats.Heartbeat,),
}

_UNIONS: Final = {
    "inference.results": ("LogRecord", "One record in the log of a run; `kind` gives its type."),
    "inference.cancelled": (
        "Notice",
        "A notice to every worker: a cancelled attempt or, given by its `kind`, a span to process alone.",
    ),
}
_DIALECT: Final = "http://json-schema.org/draft-07/schema#"  # the one that AsyncAPI and every validator know
_UUID: Final = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of one kind of value."""
    kinds = SCHEMAS[name]
    adapter: TypeAdapter[Any] = records.LOG_RECORD if kinds is LOG_RECORDS else TypeAdapter(functools.reduce(operator.or_, kinds))
    body = _tidied(adapter.json_schema())
    if name in _UNIONS:
        title, description = _UNIONS[name]
        body |= {"title": title, "description": description}
        for definition in body["$defs"].values():
            if "kind" in definition.get("properties", {}):  # it has a default in the type, but readers need it to tell the types apart
                definition["required"] = sorted([*definition["required"], "kind"])
    examples = [orjson.loads(EXAMPLES[kind].to_bytes()) for kind in kinds]
    return {"$schema": _DIALECT, "$id": f"urn:extents:{name}:1", **body, "examples": examples}


def _tidied(node: Any) -> Any:
    """pydantic's schema with Markdown for reStructuredText, and UUIDs restricted to the one spelling that the service accepts."""
    if isinstance(node, list):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidied = {name: _tidied(value) for name, value in node.items()}
    if isinstance(description := tidied.get("description"), str):
        tidied["description"] = description.replace("``", "`")
    return {**tidied, "pattern": _UUID} if tidied.get("format") == "uuid" else tidied
