"""Publishing a run: once, verified, and with the same result for every process that repeats it."""

import hashlib

import pytest

from core.errors import TransientError
from storage.objects import ObjectStore
from storage.publish import publish_run, verify_stored_run
from storage.run_db import build_run_db
from storage.run_db_reader import read_run_db
from tests.storage.finished_runs import finished_run, fixed_run


@pytest.fixture
def run():
    return finished_run(pairs=200)


async def test_a_published_run_is_what_lies_in_the_store(store, keys, run):
    """Key, size and hash describe the object as it was read back."""
    data = build_run_db(run)
    stored = await publish_run(store, keys, run, data)
    key = f"videos/{run.tenant_id}/{run.video_id}/caption_frame_extents/v3_model-builtin-_run-{run.run_id}.db"
    assert (stored.storage_key, stored.size_bytes, stored.attempt, stored.adopted) == (key, len(data), 1, False)
    assert hashlib.sha256(await store.get(key, len(data))).hexdigest() == stored.sha256
    assert (await store._client.head_object(Bucket=store.bucket, Key=key))["ContentType"] == "application/x-sqlite3"


async def test_publishing_again_adopts_what_is_there(store, keys, run):
    """Publishing again writes nothing and reports the same."""
    first = await publish_run(store, keys, run, build_run_db(run))
    await store.put(first.storage_key, build_run_db(run), {"untouched": "yes"})
    again = await publish_run(store, keys, run, build_run_db(run))
    assert again.adopted
    assert (again.sha256, again.size_bytes) == (first.sha256, first.size_bytes)
    assert (await store.head(first.storage_key)).metadata == {"untouched": "yes"}


async def test_an_object_complete_for_this_run_is_adopted_though_its_bytes_differ(store, keys, run):
    """A complete file that another release wrote for the same run is kept, because it may have been announced."""
    other = build_run_db(
        finished_run(pairs=200, run_id=run.run_id, tenant_id=run.tenant_id, video_id=run.video_id, provenance={"release": "older"})
    )
    await store.put(keys.run_db(run.tenant_id, run.video_id, 3, run.model_version, run.run_id), other)
    stored = await publish_run(store, keys, run, build_run_db(run))
    assert stored.adopted
    assert stored.sha256 == hashlib.sha256(other).hexdigest()


@pytest.mark.parametrize(
    "present",
    [
        lambda run: b"",
        lambda run: b"nonsense" * 1000,
        lambda run: build_run_db(run)[:-4096],
        lambda run: build_run_db(run)[:8192] + bytes(4096) + build_run_db(run)[12288:],
        lambda run: build_run_db(finished_run(pairs=200)),
        lambda run: build_run_db(finished_run(pairs=199, run_id=run.run_id)),
    ],
    ids=["empty", "nonsense", "cut", "overwritten", "another run", "another length"],
)
async def test_an_object_of_another_run_is_replaced(store, keys, run, present):
    """A damaged object, or one of another run, is replaced."""
    await store.put(keys.run_db(run.tenant_id, run.video_id, 3, run.model_version, run.run_id), present(run))
    stored = await publish_run(store, keys, run, build_run_db(run))
    assert not stored.adopted
    assert await store.get(stored.storage_key, stored.size_bytes) == build_run_db(run)


async def test_a_later_attempt_replaces_an_earlier_one_and_not_the_other_way(store, keys):
    """Attempt 2 replaces the file of attempt 1, and a process that is still on attempt 1 keeps the newer file."""
    first, second = fixed_run(attempt=1), fixed_run(attempt=2)
    await publish_run(store, keys, first, build_run_db(first))
    assert not (await publish_run(store, keys, second, build_run_db(second))).adopted
    overtaken = await publish_run(store, keys, first, build_run_db(first))
    assert (overtaken.adopted, overtaken.attempt) == (True, 2)
    assert read_run_db(await store.get(overtaken.storage_key, 10**7), "x").attempt == 2


async def test_an_object_too_large_for_a_run_is_replaced(store, keys, run, monkeypatch):
    """An object beyond any run's size is replaced without being read."""
    data = build_run_db(run)
    monkeypatch.setattr("storage.publish.MAX_RUN_DB_BYTES", len(data))
    await store.put(keys.run_db(run.tenant_id, run.video_id, 3, run.model_version, run.run_id), bytes(len(data) + 1))
    assert not (await publish_run(store, keys, run, data)).adopted


async def test_a_mismatch_on_reading_back_publishes_nothing(store_config, keys, run):
    """An object that reads back differently is not reported as stored."""

    class Forgetful(ObjectStore):
        async def put(self, key, data, metadata=None, **options):
            await super().put(key, data[:-1], metadata, **options)

    async with ObjectStore(store_config) as healthy, Forgetful(store_config) as store:
        with pytest.raises(TransientError, match=rf"run {run.run_id}: read \d+ bytes.*; not published"):
            await publish_run(store, keys, run, build_run_db(run))
        assert not (await publish_run(healthy, keys, run, build_run_db(run))).adopted


async def test_a_stored_run_counts_only_if_its_object_is_the_rows(store, keys, run):
    """A row's object is verified by its hash; one that is missing, changed or damaged does not count."""
    stored = await publish_run(store, keys, run, build_run_db(run))
    stored_run = await verify_stored_run(store, stored.storage_key, stored.sha256)
    assert stored_run is not None
    assert stored_run.run_id == str(run.run_id)
    assert await verify_stored_run(store, stored.storage_key, None) is not None
    assert await verify_stored_run(store, stored.storage_key, "0" * 64) is None
    await store.put(stored.storage_key, b"damaged")
    assert await verify_stored_run(store, stored.storage_key, None) is None
    await store.delete(stored.storage_key)
    assert await verify_stored_run(store, stored.storage_key, stored.sha256) is None
