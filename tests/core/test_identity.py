"""Ids are derived from what they identify, and only valid ids are accepted."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.identity import NAMESPACE, outcome_event_id, parse_uuid, request_event_id, request_id, run_id

TENANT = UUID("11111111-2222-3333-4444-555555555555")
VIDEO = UUID("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee")


@given(st.uuids())
def test_a_uuid_is_read_in_either_case_and_written_in_lower(value):
    """A UUID is read in either case, and written in lower case with hyphens."""
    assert parse_uuid(str(value)) == parse_uuid(str(value).upper()) == value
    assert str(parse_uuid(str(value).upper())) == str(value)


@pytest.mark.parametrize(
    "text",
    [
        "{11111111-2222-3333-4444-555555555555}",
        "urn:uuid:11111111-2222-3333-4444-555555555555",
        "11111111222233334444555555555555",
        "11111111-2222-3333-4444-555555555555 ",
        "\n11111111-2222-3333-4444-555555555555",
        "1111-11112222-3333-4444-555555555555",
        "../11111-2222-3333-4444-555555555555",
        "11111111-2222-3333-4444-55555555555/",
        "11111111-2222-3333-4444-5555555555555",
        "11111111_2222-3333-4444-555555555555",
        "１1111111-2222-3333-4444-555555555555",
        "%31111111-2222-3333-4444-555555555555",
        "..",
        "",
    ],
)
def test_a_malformed_uuid_is_refused(text):
    """Braces, urn:, missing hyphens, path tricks, foreign digits and surrounding characters are rejected."""
    with pytest.raises(ValueError, match="8-4-4-4-12"):
        parse_uuid(text)


@given(st.text(max_size=60))
def test_whatever_is_read_as_an_id_is_safe_in_a_key(text):
    """Any text that is accepted is the id's own spelling, so that no key built from it can point elsewhere."""
    try:
        parsed = parse_uuid(text)
    except ValueError:
        return
    assert text.lower() == str(parsed)


def test_a_refused_id_is_shortened_in_the_message():
    """The message shortens an id of a megabyte."""
    with pytest.raises(ValueError, match="8-4-4-4-12") as refused:
        parse_uuid("-" * 1_000_000 + "1" * 32)
    assert len(str(refused.value)) < 200


def test_ids_never_change():
    """Ids of runs, requests and events stay the same in every version of the service."""
    assert str(NAMESPACE) == "6f0c7f5e-3b1d-5c8a-9a44-0e7d52b6c1f3"
    run = run_id(TENANT, VIDEO, 3, "builtin-0123abcd")
    request = request_id(TENANT, VIDEO, 3, "event-1")
    assert str(run) == "354070c6-e504-54e9-ba87-158048999811"
    assert str(request) == "3d094a52-ecdd-5ee3-b601-65ce58c533a8"
    assert str(run_id(TENANT, VIDEO, 3, "builtin-0123abcd", request)) == "0e69dbf5-4352-5d90-8fc2-5e845006c0d2"
    assert str(outcome_event_id(run, 2, "completed")) == "98e1b7c8-5e5b-5c1b-bc90-79325af141c8"
    assert str(request_event_id(request, "completed")) == "cfe19164-2cc6-5135-a580-2c1ed08feefe"


def test_one_video_version_and_model_is_one_run_unless_forced():
    """Equal requests share a run; each forced request has its own, with the same id at every redelivery."""
    first, second = (request_id(TENANT, VIDEO, 3, event) for event in ("event-1", "event-2"))
    plain = run_id(TENANT, VIDEO, 3, "m")
    assert plain == run_id(TENANT, VIDEO, 3, "m")
    assert run_id(TENANT, VIDEO, 3, "m", first) == run_id(TENANT, VIDEO, 3, "m", first)
    others = [run_id(VIDEO, TENANT, 3, "m"), run_id(TENANT, VIDEO, 4, "m"), run_id(TENANT, VIDEO, 3, "n")]
    assert len({plain, run_id(TENANT, VIDEO, 3, "m", first), run_id(TENANT, VIDEO, 3, "m", second), *others}) == 6
