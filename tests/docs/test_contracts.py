"""docs/contracts is generated from the types, and matches what the service accepts and sends."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft7Validator, FormatChecker

from core.settings import TopicSettings
from streams import records
from streams.policy.outcomes import SOURCE
from streams.records import Record
from streams.topics import RUNS_TABLE, Topics
from tools.contracts import FOLDER, documents
from tools.contracts.asyncapi import asyncapi
from tools.contracts.channels import CHANNELS
from tools.contracts.examples import EXAMPLES, event_headers
from tools.contracts.schemas import LOG_RECORDS, OUTCOMES, SCHEMAS, schema

KINDS = [(name, kind) for name, kinds in SCHEMAS.items() for kind in kinds]


def validator(name: str) -> Draft7Validator:
    return Draft7Validator(schema(name), format_checker=FormatChecker())


def test_files_are_up_to_date():
    """docs/contracts holds exactly what the types give; `python -m tools.contracts` updates it."""
    files = {str(path.relative_to(FOLDER)): path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()}
    assert files == documents()


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_schemas(name):
    """Each file is a valid JSON Schema of draft 7."""
    Draft7Validator.check_schema(schema(name))


@pytest.mark.parametrize(("name", "kind"), KINDS, ids=lambda value: getattr(value, "__name__", value))
def test_examples_are_accepted_by_schema_and_type(name, kind):
    """Every record's example passes the schema, and the service decodes it to the same record."""
    example = EXAMPLES[kind]
    validator(name).validate(json.loads(example.to_bytes()))
    read = records.decode_log(example.to_bytes()) if kind in LOG_RECORDS else records.decode(kind, example.to_bytes())
    assert read == example


@pytest.mark.parametrize(("name", "kind"), KINDS, ids=lambda value: getattr(value, "__name__", value))
def test_what_the_type_needs_the_schema_needs(name, kind):
    """A missing or invalid field is rejected by both schema and service, or by neither."""
    whole = json.loads(EXAMPLES[kind].to_bytes())
    changed = [{key: value for key, value in whole.items() if key != left_out} for left_out in whole]
    changed += [{**whole, spoilt: ["not", "it"]} for spoilt in whole]
    for value in changed:
        assert validator(name).is_valid(value) == is_accepted(kind, value), value


def is_accepted(kind: type[Record], value: object) -> bool:
    data = json.dumps(value).encode()
    try:
        if kind in LOG_RECORDS:
            records.decode_log(data)
        else:
            records.decode(kind, data)
    except records.PoisonError:
        return False
    return True


@pytest.mark.parametrize("text", ["{7c1b7a52-8f0a-4a38-b0d6-54d8ab1f90c3}", "7c1b7a528f0a4a38b0d654d8ab1f90c3", "../../etc", ""])
def test_ids_have_one_spelling(text):
    """Schema and service reject an id unless it is written with hyphens and nothing around it."""
    value = {**json.loads(EXAMPLES[records.VideoEncoded].to_bytes()), "video_id": text}
    assert not validator("video.encoded").is_valid(value)
    assert not is_accepted(records.VideoEncoded, value)


@pytest.mark.parametrize("name", SCHEMAS)
def test_unknown_fields_are_allowed(name):
    """Unknown fields are accepted, so that a producer may add fields before its consumers know them."""
    kind = SCHEMAS[name][0]
    value = {**json.loads(EXAMPLES[kind].to_bytes()), "added_later": {"any": "thing"}}
    validator(name).validate(value)
    assert is_accepted(kind, value)


def test_every_record_is_in_the_contract():
    """Every record that is sent is in the contract."""

    def leaves(kind: type[Record]) -> set[type[Record]]:
        below = kind.__subclasses__()
        return set().union(*map(leaves, below)) if below else {kind}

    sent = {
        kind for kind in leaves(Record) if kind.__module__ in ("streams.records", "streams.policy.quarantine", "streams.policy.heartbeats")
    }
    parts_of_others = {records.RequestRef, records.Origin}
    assert sent - parts_of_others == {kind for kinds in SCHEMAS.values() for kind in kinds}


def test_every_topic_is_a_channel():
    """Every topic is in the contract, except the table's own changelog."""
    topics = Topics(TopicSettings.model_construct())
    created = {spec.name for spec in topics.specs()} - {topics.runs_changelog}
    assert RUNS_TABLE in topics.runs_changelog
    assert created == {channel.topic for channel in CHANNELS} == set(asyncapi()["channels"])


def test_references_lead_somewhere():
    """Every $ref of the AsyncAPI document points to a part of it or to a schema file beside it."""
    document = asyncapi()

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            return [value for key, value in node.items() if key == "$ref"] + [ref for value in node.values() for ref in references(value)]
        return [ref for value in node for ref in references(value)] if isinstance(node, list) else []

    links = references(document)
    assert links
    for reference in links:
        if not reference.startswith("#/"):
            assert (FOLDER / reference).is_file(), reference
            continue
        node: object = document
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(node, dict), reference
            assert part in node, reference
            node = node[part]


def test_asyncapi_has_what_version_3_asks_for():
    """The document has the parts that AsyncAPI 3 requires, operations belong to channels, and messages have keys."""
    document = json.loads((FOLDER / "asyncapi.json").read_bytes())
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(document["info"])
    assert set(document) <= {"asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations", "components"}
    for channel in document["channels"].values():
        assert channel["address"]
        assert channel["bindings"]["kafka"]["partitions"] >= 1
        assert channel["bindings"]["kafka"]["topicConfiguration"]["retention.ms"] > 0
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])
    for message in document["components"]["messages"].values():
        assert message["bindings"]["kafka"]["key"]["type"] == "string"


@pytest.mark.parametrize("kind", OUTCOMES, ids=lambda kind: kind.__name__)
def test_headers_of_outcomes_are_cloud_events(kind):
    """The headers that the service sends with an outcome are those of the contract."""
    headers = event_headers(kind)
    name = next(name for name, kinds in SCHEMAS.items() if kind in kinds)
    promised = asyncapi()["components"]["messages"][name]["headers"]
    Draft7Validator(promised, format_checker=FormatChecker()).validate(headers)
    assert set(headers) == set(promised["properties"])
    assert (headers["ce_type"], headers["ce_source"]) == (f"extents.{name}.v1", SOURCE)


def test_page_links_lead_somewhere():
    """The page of contracts links only to existing files."""
    page = (FOLDER / "README.md").read_text()
    links = [part.partition(")")[0] for part in page.split("](")[1:]]
    local = [link for link in links if "://" not in link]
    assert len(local) >= len(CHANNELS) - 1
    assert all((FOLDER / Path(link)).exists() for link in local)
