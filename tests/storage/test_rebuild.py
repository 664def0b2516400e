"""Rows are rebuilt from keys and files; what does not belong to a run is skipped or named."""

import sqlite3
from contextlib import closing
from uuid import UUID

import pytest

from core.errors import CorruptInputError
from core.settings import KeySettings
from storage.rebuild import NO_REQUEST, RunKeys, read_finished_run
from storage.run_db import build_run_db
from tests.storage.finished_runs import fixed_run

TENANT, VIDEO = UUID("11111111-2222-3333-4444-555555555555"), UUID("66666666-7777-8888-9999-aaaaaaaaaaaa")
RUN = "0d4f7a1e-0d0c-4a8e-9f6e-1c4b3f6f2a11"
BEGINNING = f"videos/{TENANT}/{VIDEO}/caption_frame_extents/v1_model-builtin-_run-"
DEFAULT = KeySettings.model_fields["run_db"].default
SHORT = DEFAULT.replace("{run_id}", "{run_id_8}")


@pytest.mark.parametrize(
    ("template", "key"),
    [
        (DEFAULT, f"{BEGINNING}{RUN}.db"),
        (DEFAULT, f"{BEGINNING}{RUN[:8]}.db"),
        (SHORT, f"{BEGINNING}{RUN[:8]}.db"),
        (DEFAULT.removeprefix("videos/"), f"{BEGINNING}{RUN}.db".removeprefix("videos/")),
    ],
)
def test_the_key_of_a_run_says_whose_it_is(template: str, key: str) -> None:
    """Tenant and video are read from a run's key by every template that the settings allow, and for the former service's runs."""
    assert RunKeys(template).ids(key) == (TENANT, VIDEO)


@pytest.mark.parametrize("key", [f"{BEGINNING}{RUN}.db.gz", f"videos/{TENANT}/{VIDEO}/layout.db", f"videos/tenant/{VIDEO}/x.db"])
def test_other_keys_are_none_of_a_run(key: str) -> None:
    """Other objects below the same prefix are skipped."""
    assert RunKeys(DEFAULT).ids(key) is None


def with_provenance(key: str, value: str) -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(build_run_db(fixed_run(tenant_id=TENANT, video_id=VIDEO)))
        connection.execute("UPDATE run_provenance SET value = ? WHERE key = ?", (value, key))
        connection.commit()
        return connection.serialize()


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("request_id", "none of yours", "request id 'none of yours' is not a UUID"),
        ("video_id", str(TENANT), f"holds a run of tenant {TENANT}, video {TENANT}"),
    ],
)
def test_a_file_that_contradicts_itself_is_named(key: str, value: str, fault: str) -> None:
    """A file that contradicts itself or its key gives an error that names the fault."""
    with pytest.raises(CorruptInputError, match=f"^run.db:? {fault}"):
        read_finished_run(with_provenance(key, value), "run.db", TENANT, VIDEO)


def test_a_run_without_a_request_counts_as_the_earliest() -> None:
    """A run without a request, such as one of the former service, counts as the earliest."""
    run, stored = read_finished_run(with_provenance("request_id", ""), "run.db", TENANT, VIDEO)
    assert (run.request_id, stored.storage_key) == (NO_REQUEST, "run.db")
