"""The proxy of these tests fails as a network does."""

import asyncio
import contextlib
import time

import pytest

from devstack.ports import HOST, choose_ports
from tests.chaos.tcp_proxy import TcpProxy
from tests.streams.waiting import until


class Echo:
    """A server that echoes what it receives, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1024):
                self.heard += data
                writer.write(data)
        writer.close()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def proxy(echo: Echo):
    ports = choose_ports(["proxy", "echo"], {})
    server = await asyncio.start_server(echo.answer, HOST, ports["echo"])
    async with TcpProxy(ports["proxy"], ports["echo"]).running() as running:
        yield running
    server.close()


@contextlib.asynccontextmanager
async def connected(proxy: TcpProxy):
    """Sends something to the server behind the proxy, and returns the echo."""
    reader, writer = await asyncio.open_connection(HOST, proxy.port)

    async def exchange(text: bytes) -> bytes:
        writer.write(text)
        return await asyncio.wait_for(reader.readexactly(len(text)), 20)

    try:
        yield exchange
    finally:
        writer.close()


async def test_it_passes_bytes_on(proxy: TcpProxy) -> None:
    """Without a fault every byte arrives in both directions, on its own connection."""
    async with connected(proxy) as first, connected(proxy) as second:
        assert [await first(b"a" * 300_000), await second(b"b")] == [b"a" * 300_000, b"b"]


async def test_an_end_is_passed_on(proxy: TcpProxy) -> None:
    """When the client hangs up, so does the proxy."""
    async with connected(proxy) as exchange:
        await exchange(b"a")
        assert proxy.connections == 1
    await until(lambda: proxy.connections == 0)


async def test_cut(proxy: TcpProxy) -> None:
    """While it is cut, existing and new connections are reset; afterwards new ones work."""
    async with connected(proxy) as exchange:
        await exchange(b"a")
        with proxy.cut():
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await exchange(b"b")
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                async with connected(proxy) as new:
                    await new(b"c")
    async with connected(proxy) as exchange:
        assert await exchange(b"d") == b"d"


async def test_slow(proxy: TcpProxy) -> None:
    """Answers are delayed by the given time, and no answer waits for another."""
    async with contextlib.AsyncExitStack() as opened:
        clients = [await opened.enter_async_context(connected(proxy)) for _ in range(20)]
        with proxy.slow(0.5):
            began = time.monotonic()
            assert await asyncio.gather(*(exchange(b"late") for exchange in clients)) == 20 * [b"late"]
            assert 0.5 <= time.monotonic() - began < 20 * 0.5


async def test_half_open(proxy: TcpProxy, echo: Echo) -> None:
    """Nothing on a half-open connection reaches the server, not even after the network has recovered; a new connection works."""
    async with connected(proxy) as old:
        await old(b"before")
        with proxy.half_open():
            async with connected(proxy) as new:
                requests = [asyncio.create_task(old(b"old")), asyncio.create_task(new(b"new"))]
                await asyncio.wait(requests, timeout=0.2)
        async with connected(proxy) as healthy:
            assert await healthy(b"after") == b"after"
        assert not any(task.done() for task in requests[:1])
        for task in requests:
            task.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
        assert echo.heard == b"beforeafter"


async def test_the_server_is_unreachable(proxy: TcpProxy) -> None:
    """Clients that connect while nobody listens behind the proxy are reset."""
    async with TcpProxy(*choose_ports(["proxy", "nobody"], {}).values()).running() as alone, connected(alone) as exchange:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await exchange(b"a")
