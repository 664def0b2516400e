"""Clients that connect to the health server and send nothing take no descriptors from the work, and block no other client."""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from streams.runtime import connection_limits
from streams.runtime.connection_limits import MAX_CONNECTIONS, most_connections
from streams.runtime.health import Health, HealthServer
from tests.streams.runtime.test_health import free_port


@contextlib.asynccontextmanager
async def half_open(port: int, count: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    """This many connections that begin a request and never end it."""
    writers, readers = [], []
    try:
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            writers.append(writer)
            readers.append(reader)
        yield readers
    finally:
        for writer in writers:
            writer.close()


async def ended(reader: asyncio.StreamReader) -> bool:
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), 20) == b""
    return True


async def status_of(port: int) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as answer:
        return answer.status


async def test_a_flood_of_half_open_connections_pushes_out_itself():
    """Of 300 connections only the allowed number stays; a probe among them is answered, repeatedly."""
    port = free_port()
    async with HealthServer(Health(), "127.0.0.1", port), half_open(port, 300) as readers:
        for _ in range(3):
            assert await asyncio.wait_for(status_of(port), 5) == 200
        gone = sum(await asyncio.gather(*(ended(reader) for reader in readers[: 300 - MAX_CONNECTIONS])))
        assert gone == 300 - MAX_CONNECTIONS


async def test_a_request_that_does_not_come_ends(monkeypatch):
    """A connection without a complete request is closed after a time limit."""
    monkeypatch.setattr(connection_limits, "CONNECTION_SECONDS", 0.2)
    port = free_port()
    async with HealthServer(Health(), "127.0.0.1", port), half_open(port, 1) as readers:
        assert await ended(readers[0])


async def test_an_answer_that_takes_longer_is_not_cut_off(monkeypatch):
    """A page that follows events stays connected for as long as it is open."""
    monkeypatch.setattr(connection_limits, "CONNECTION_SECONDS", 0.1)

    async def follow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(5):
            await response.write(b"%d" % number)
            await asyncio.sleep(0.1)
        return response

    page, port = web.Application(), free_port()
    page.router.add_get("/events", follow)
    server = HealthServer(Health(), "127.0.0.1", port, {"/ui": page})
    async with server, aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/ui/events") as answer:
        assert await answer.read() == b"01234"


async def test_an_answer_closes_its_connection():
    """No connection is kept after an answer."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    async with HealthServer(Health(), "127.0.0.1", port), aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("limit", "most"), [(256, 32), (64, 8), (16, 8), (1_000_000, MAX_CONNECTIONS), (resource.RLIM_INFINITY, MAX_CONNECTIONS)]
)
def test_the_number_follows_the_limit_of_descriptors(monkeypatch, limit, most):
    """The number is well below what the process may open, so that the work has the rest."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert most_connections() == most
