"""The object store over real sockets: objects come back unchanged, and failures have the right error."""

import asyncio
import gzip
import hashlib
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from uuid import uuid4

import pytest

from core.errors import ConfigurationError, CorruptInputError, MissingObjectError, TransientError
from core.frames import plan_chunks
from core.types import Anchor
from storage.layouts import fetch_layout
from storage.objects import MAX_HELD_BYTES, ObjectStore
from storage.presence import MissingChunks, missing_chunks


@asynccontextmanager
async def serving(answer: bytes | None) -> AsyncIterator[str]:
    """Run a server that sends this response to every request and disconnects. With None it stays silent until the client disconnects."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in writers:
            await writer.wait_closed()


async def test_an_object_comes_back_as_it_was_put(store):
    """Bytes and metadata are stored, and a second put replaces the first."""
    await store.put("a/b.db", b"first")
    await store.put("a/b.db", b"\0second", {"run-id": "r"})
    assert await store.get("a/b.db", 7) == b"\0second"
    info = await store.head("a/b.db")
    assert (info.size_bytes, info.metadata) == (7, {"run-id": "r"})


async def test_an_aborted_upload_leaves_the_old_object(store):
    """An upload that is cancelled at any moment leaves the old object or the new one, whole."""
    before, after = b"a" * 5_000_000, b"b" * 5_000_000
    await store.put("a", before)
    for milliseconds in range(30):
        upload = asyncio.create_task(store.put("a", after))
        await asyncio.sleep(milliseconds / 1000)
        upload.cancel()
        await asyncio.gather(upload, return_exceptions=True)
        await asyncio.sleep(0.02)  # by then the server has noticed
        assert await store.get("a", len(after)) in (before, after)


async def test_an_object_that_is_not_there_is_named(store):
    """Reading a missing object names its key, and deleting it again is not an error."""
    await store.put("a", b"x")
    await store.delete("a")
    await store.delete("a")
    for call in (store.get("a", 1), store.head("a")):
        with pytest.raises(MissingObjectError, match=f"s3://{store.bucket}/a does not exist"):
            await call


async def test_an_object_over_the_limit_is_not_read(store):
    """An object above the limit is rejected by its size without being read."""
    await store.put("big", bytes(1001))
    with pytest.raises(CorruptInputError, match="big has 1001 bytes; expected at most 1000"):
        await store.get("big", 1000)


async def test_listings_of_several_pages_are_whole(store):
    """More keys than one page holds (1,000) are listed once each and in order, and none outside the prefix."""
    names = [f"many/{number:04d}" for number in range(1105)]
    await asyncio.gather(*(store.put(name, b"") for name in [*names, "other/x", "many-not/x"]))
    assert [key async for key in store.list_keys("many/")] == names


async def test_more_reads_than_connections_all_finish(store_config):
    """Reads beyond the pool's size wait for a connection."""
    async with ObjectStore(replace(store_config, pool_size=2)) as store:
        await asyncio.gather(*(store.put(str(number), bytes([number])) for number in range(40)))
        assert await asyncio.gather(*(store.get(str(number), 1) for number in range(40))) == [bytes([n]) for n in range(40)]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"access_key": "NOBODY"}, "WASABI_ACCESS_KEY"),
        ({"secret_key": "wrong-secret"}, "WASABI_"),
        ({"bucket": "no-such-bucket-anywhere"}, "WASABI_BUCKET"),
    ],
)
async def test_a_wrong_setting_is_named(store_config, changes, complaint):
    """Wrong credentials or a wrong bucket give a configuration error without the secret."""
    async with ObjectStore(replace(store_config, **changes)) as store:
        with pytest.raises(ConfigurationError, match=complaint) as raised:
            await store.check()
        assert "wrong-secret" not in str(raised.value)
        with pytest.raises(ConfigurationError):
            await store.put("a", b"x")


async def test_the_right_settings_pass_the_check(store):
    """A bucket that can be reached passes the check."""
    await store.check()


async def test_an_unreachable_store_is_transient(store_config, unused_tcp_port):
    """A refused connection is transient."""
    async with ObjectStore(replace(store_config, endpoint_url=f"http://127.0.0.1:{unused_tcp_port}")) as store:
        with pytest.raises(TransientError, match=r"s3://.*/a"):
            await store.get("a", 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: "x"\r\n\r\n',
        b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2",
        b"",
    ],
)
async def test_an_answer_cut_short_is_transient(store_config, answer):
    """A body that ends before its length, a busy server and a dropped connection are transient."""
    async with serving(answer) as url, ObjectStore(replace(store_config, endpoint_url=url)) as store:
        with pytest.raises(TransientError, match=r"s3://.*/a"):
            await store.get("a", 1000)


async def test_a_server_that_does_not_answer_is_transient(store_config):
    """A server that does not answer within the timeout is a transient error."""
    async with serving(None) as url, ObjectStore(replace(store_config, endpoint_url=url, timeout_seconds=0.2)) as store:
        for call in (store.get("a", 1000), store.put("a", b"x")):
            with pytest.raises(TransientError, match=r"s3://.*/a"):
                await call


@pytest.mark.parametrize("page", [b"<html><br>be back soon</html>", b"<ListBucketRes"])
async def test_a_response_that_is_not_the_stores_is_transient(store_config, page):
    """A gateway's page with status 200 is transient."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page)
    async with serving(answer) as url, ObjectStore(replace(store_config, endpoint_url=url)) as store:
        with pytest.raises(TransientError, match=r"s3://.*/a"):
            assert [key async for key in store.list_keys("a")]


async def test_a_store_that_answers_passes_the_probe(store):
    """The probe passes whether there is an object to read or not."""
    await store.probe()
    await store.put("a", b"x")
    await store.probe()


async def test_a_video_with_all_its_chunks_lacks_none(store, keys):
    """No chunk of a complete video is missing, whatever other objects are beside them."""
    tenant, video = uuid4(), uuid4()
    names = [chunk.name for chunk in plan_chunks(1025)]
    await asyncio.gather(*(store.put(keys.chunk(tenant, video, 1, name), b"x") for name in [*names, "modulo_1/notes.txt"]))
    assert await missing_chunks(store, keys, tenant, video, 1, 1025) is None
    assert await missing_chunks(store, keys, tenant, video, 1, 513) is None


async def test_the_first_missing_chunk_is_named(store, keys):
    """Missing chunks are counted, and the first of the layout's order is named."""
    tenant, video = uuid4(), uuid4()
    names = [chunk.name for chunk in plan_chunks(1025)]
    for name in set(names) - {names[5], names[2]}:
        await store.put(keys.chunk(tenant, video, 1, name), b"x")
    assert await missing_chunks(store, keys, tenant, video, 1, 1025) == MissingChunks(names[2], 2, len(names), version_exists=True)


async def test_a_version_that_does_not_exist_is_distinguished_from_a_missing_chunk(store, keys):
    """If a version has no chunk, it does not exist, even if another version whose number begins alike does."""
    tenant, video = uuid4(), uuid4()
    await store.put(keys.chunk(tenant, video, 10, plan_chunks(2)[0].name), b"x")
    missing = await missing_chunks(store, keys, tenant, video, 1, 2)
    assert missing == MissingChunks("modulo_16/chunk_0000000000.webm", 2, 2, version_exists=False)


async def test_a_long_video_does_not_block_the_event_loop(store, keys):
    """The 6,250 names of 200,000 frames are made and compared elsewhere; here that would take a third of a second."""
    began = time.thread_time()
    missing = await missing_chunks(store, keys, uuid4(), uuid4(), 1, 200_000)
    assert missing is not None
    assert missing.count == missing.expected > 6_000
    assert time.thread_time() - began < 0.1


def layout_file() -> bytes:
    columns = "crop_left, crop_top, crop_right, crop_bottom, frame_width, frame_height, anchor_type, ocr_visualization_image"
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE video_layout_config (id INTEGER PRIMARY KEY, {columns})")
        connection.execute("INSERT INTO video_layout_config VALUES (1, 1, 2, 3, 4, 5, 6, 'right', x'89')")
        connection.commit()
        return connection.serialize()


async def test_a_layout_is_the_same_packed_or_not(store, keys):
    """``layout.db`` overrides ``layout.db.gz``, and both have the same hash."""
    tenant, video, data = uuid4(), uuid4(), layout_file()
    with pytest.raises(MissingObjectError, match=r"neither .*layout\.db nor .*layout\.db\.gz exists"):
        await fetch_layout(store, keys, tenant, video)
    await store.put(f"{keys.layout(tenant, video)}.gz", gzip.compress(data))
    packed = await fetch_layout(store, keys, tenant, video)
    await store.put(keys.layout(tenant, video), data)
    plain = await fetch_layout(store, keys, tenant, video)
    assert packed.sha256 == plain.sha256 == hashlib.sha256(data).hexdigest()
    assert (packed.key, plain.key) == (f"{plain.key}.gz", keys.layout(tenant, video))
    assert packed.layout == plain.layout
    assert plain.layout.anchor is Anchor.RIGHT


async def test_an_answer_without_a_length_is_read_up_to_the_bound(store_config):
    """A response without a length is read to its end, and rejected above the limit."""
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n12345\r\n3\r\n678\r\n0\r\n\r\n"
    async with serving(body) as url, ObjectStore(replace(store_config, endpoint_url=url)) as store:
        assert await store.get("a", 8) == b"12345678"
        async with store.hold("a", 8, 3) as data:
            assert data == b"12345678"
        with pytest.raises(CorruptInputError, match="more than 7 bytes"):
            await store.get("a", 7)


async def test_an_answer_without_a_length_that_is_cut_short_is_transient(store_config):
    """A connection that ends within a piece is transient."""
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n123"
    async with serving(body) as url, ObjectStore(replace(store_config, endpoint_url=url)) as store:
        with pytest.raises(TransientError):
            await store.get("a", 8)


@pytest.mark.parametrize(
    ("token", "complaint"),
    [("", "without a continuation token"), ("<NextContinuationToken>t</NextContinuationToken>", "the same continuation token again")],
)
async def test_a_listing_that_does_not_continue_is_transient(store_config, token, complaint):
    """A page that announces more without a new continuation token is transient."""
    xml = f"<ListBucketResult><IsTruncated>true</IsTruncated>{token}<Contents><Key>k</Key></Contents></ListBucketResult>"
    answer = f"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {len(xml)}\r\nConnection: close\r\n\r\n{xml}"
    async with serving(answer.encode()) as url, ObjectStore(replace(store_config, endpoint_url=url)) as store:
        with pytest.raises(TransientError, match=complaint):
            [key async for key in store.list_keys("p/")]


async def test_what_is_held_at_a_time_has_one_bound(store):
    """Of ten objects that each need half the limit, two are held at a time, and each is whole."""
    held, most = 0, 0
    for number in range(10):
        await store.put(f"o/{number}", bytes([number]) * 1000)

    async def read(number: int) -> bytes:
        nonlocal held, most
        async with store.hold(f"o/{number}", 1000, MAX_HELD_BYTES // 2000) as data:
            held += 1
            most = max(most, held)
            await asyncio.sleep(0.01)
            held -= 1
            return data

    assert await asyncio.gather(*map(read, range(10))) == [bytes([number]) * 1000 for number in range(10)]
    assert most == 2
