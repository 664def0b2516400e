"""The contract as documents, made from the types: JSON Schema of every record, AsyncAPI 3 of the topics, and a page to read.

``python -m tools.contracts`` writes them to ``docs/contracts``; a test fails when they differ from the types.
"""

from pathlib import Path
from typing import Any, Final

import orjson

from tools.contracts.asyncapi import asyncapi
from tools.contracts.page import page
from tools.contracts.schemas import SCHEMAS, schema

FOLDER: Final = Path(__file__).resolve().parent.parent.parent / "docs" / "contracts"


def documents() -> dict[str, bytes]:
    """Every file of the contract: path below ``docs/contracts``, and content."""
    schemas = {f"schemas/{name}.json": _json(schema(name)) for name in SCHEMAS}
    return {**schemas, "asyncapi.json": _json(asyncapi()), "README.md": page().encode()}


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
