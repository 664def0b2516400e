"""The proxy itself in front of the real store: forwarded requests are unchanged, and each fault does what its name says."""

import random
from dataclasses import replace

import httpx
import pytest

from core.errors import CorruptInputError, MissingObjectError, TransientError
from core.types import Priority
from storage.database import RowsConfig
from storage.objects import ObjectStore, ObjectStoreConfig
from storage.rows import Rows
from tests.chaos.http_proxy import Fault, HttpProxy

UNANSWERED = (Fault.ERROR, Fault.SLOW_DOWN, Fault.SILENCE, Fault.RESET, Fault.CUT)


@pytest.fixture
async def proxy(stack):
    async with HttpProxy(stack.env["WASABI_ENDPOINT"], random.Random(1)).running() as running:
        yield running


@pytest.fixture
async def store(namespace, proxy):
    env = namespace.env
    config = ObjectStoreConfig(
        bucket=env["WASABI_BUCKET"],
        access_key=env["WASABI_ACCESS_KEY"],
        secret_key=env["WASABI_SECRET_KEY"],
        region=env["WASABI_REGION"],
        endpoint_url=proxy.address,
        pool_size=4,
        timeout_seconds=5.0,
    )
    async with ObjectStore(config) as direct:
        yield direct


def impatient(store: ObjectStore) -> ObjectStore:
    """The same store for a client that waits at most half a second."""
    return ObjectStore(replace(store._config, timeout_seconds=0.5))


async def test_signed_requests_pass_unharmed(store):
    """Put, head, get, list and delete of a large object with an odd name work as without the proxy."""
    key, data = "a b/c+d=ü.db", random.Random(2).randbytes(3_000_000)
    await store.put(key, data, {"run-id": "r"})
    info = await store.head(key)
    assert (info.size_bytes, info.metadata) == (len(data), {"run-id": "r"})
    assert await store.get(key, len(data)) == data
    assert [listed async for listed in store.list_keys("a b/")] == [key]
    await store.delete(key)
    with pytest.raises(MissingObjectError):
        await store.head(key)


async def test_the_databases_api_passes_unharmed(stack):
    """A call and a filtered query work."""
    async with HttpProxy(stack.env["SUPABASE_URL"], random.Random(1)).running() as proxy:
        config = RowsConfig(
            url=proxy.address,
            service_role_key=stack.env["SUPABASE_SERVICE_ROLE_KEY"],
            schema=stack.env["SUPABASE_SCHEMA"],
            timeout_seconds=20,
        )
        async with Rows(config) as rows:
            await rows.check()
            assert await rows.count_unfinished(Priority.HIGH) >= 0
        assert proxy.requests == 2


@pytest.mark.parametrize("fault", UNANSWERED)
async def test_a_request_without_a_proper_answer(store, proxy, fault):
    """The client treats the fault as transient, and afterwards everything works as before."""
    await store.put("a", b"what it is")
    async with impatient(store) as asking:
        with proxy.failing(fault):
            for call in (asking.get("a", 10), asking.put("b", b"x"), asking.probe(), asking.head("a")):
                with pytest.raises(TransientError):
                    await call
    assert proxy.faults[fault] >= 4
    assert await store.get("a", 10) == b"what it is"


async def test_half_of_the_unanswered_had_their_effect(store, proxy):
    """Of many puts that were answered with 500, some took effect and some did not."""
    with proxy.failing(Fault.ERROR):
        for number in range(20):
            with pytest.raises(TransientError):
                await store.put(str(number), b"x")
    assert 0 < len([key async for key in store.list_keys("")]) < 20


async def test_faults_are_of_the_requests_meant(store, proxy):
    """Wrong bytes are sent only when a put is read back, rubbish only for selected requests, and a full disk is reported only for puts."""
    with proxy.failing(Fault.WRONG_AFTER_UPLOAD):
        await store.put("a", b"right")
        assert await store.get("a", 5) != b"right"
        assert await store.get("a", 5) == b"right"
    with proxy.failing(Fault.RUBBISH, of=lambda method, path: path.endswith("/a")):
        await store.put("b", b"right")
        assert [await store.get("a", 5) == b"right", await store.get("b", 5) == b"right"] == [False, True]
    with proxy.failing(Fault.FULL):
        assert await store.get("b", 5) == b"right"
        with pytest.raises(TransientError, match="InsufficientStorage"):
            await store.put("a", b"x")
    with pytest.raises(CorruptInputError):
        await store.get("a", 4)


async def test_a_server_that_lists_objects_and_sends_none_does_not_pass_the_probe(store, proxy):
    """The probe reads an object, because a store may answer everything else."""
    await store.put("a", b"x")
    with proxy.failing(Fault.ERROR, of=lambda method, path: path.endswith("/a")):
        await store.check()
        with pytest.raises(TransientError):
            await store.probe()


async def test_unreachable_and_back(store, proxy):
    """While the proxy is down, connections are refused and open ones are cut; then it is at the same address again."""
    await store.put("a", b"x")
    async with proxy.unreachable(), httpx.AsyncClient() as http:
        with pytest.raises(TransientError):
            await store.get("a", 1)
        with pytest.raises(httpx.ConnectError):
            await http.get(proxy.address)
    assert await store.get("a", 1) == b"x"


async def test_a_late_answer_is_the_right_one(store, proxy):
    """The right answer arrives late, and a client that does not wait that long gets none."""
    proxy.late_seconds = 0.8
    with proxy.failing(Fault.LATE):
        await store.put("a", b"x")
        assert await store.get("a", 1) == b"x"
        async with impatient(store) as asking:
            with pytest.raises(TransientError):
                await asking.get("a", 1)


async def test_faults_follow_from_the_seed(stack, store):
    """The same seed gives the same faults for the same requests."""

    async def faults(seed: int) -> list[bool]:
        async with HttpProxy(stack.env["WASABI_ENDPOINT"], random.Random(seed)).running() as proxy, httpx.AsyncClient() as http:
            with proxy.failing(Fault.ERROR, rate=0.5):
                return [(await http.get(proxy.address)).status_code == 500 for _ in range(12)]

    first = await faults(7)
    assert first == await faults(7)
    assert set(first) == {False, True}
