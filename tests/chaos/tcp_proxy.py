"""A TCP proxy that makes a network fail: it resets connections, holds up what comes back, or swallows what it is given."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Final

from devstack.ports import HOST

_READ_BYTES: Final = 65_536
_RESET_WHEN_CLOSED: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


@dataclass(eq=False, slots=True)
class _Connection:
    """A client and its server, each with its two ends. Once ``silent`` it carries nothing any more."""

    from_client: asyncio.StreamReader
    to_client: asyncio.StreamWriter
    from_server: asyncio.StreamReader
    to_server: asyncio.StreamWriter
    silent: bool = False

    def close(self) -> None:
        self.to_client.close()
        self.to_server.close()

    def reset(self) -> None:
        _reset(self.to_client)
        _reset(self.to_server)


@dataclass(eq=False, slots=True)
class TcpProxy:
    """Forwards connections from one port of this machine to another. Belongs to one event loop; has one fault at a time."""

    port: int
    target: int
    _connections: set[_Connection] = field(default_factory=set)
    _cut: bool = False
    _silent: bool = False
    _delay_seconds: float = 0.0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["TcpProxy"]:
        server = await asyncio.start_server(self._accept, HOST, self.port)
        try:
            yield self
        finally:
            server.close()
            while self._connections:
                self._reset_all()
                await asyncio.sleep(0.01)

    @property
    def connections(self) -> int:
        """How many there are, silent ones among them."""
        return len(self._connections)

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """All connections are reset, and so is every new one."""
        self._cut = True
        self._reset_all()
        try:
            yield
        finally:
            self._cut = False

    @contextlib.contextmanager
    def slow(self, delay_seconds: float) -> Iterator[None]:
        """What the server says arrives so much later; any amount can be under way."""
        self._delay_seconds = delay_seconds
        try:
            yield
        finally:
            self._delay_seconds = 0.0

    @contextlib.contextmanager
    def half_open(self) -> Iterator[None]:
        """Connections stay and new ones are taken, but every byte is swallowed. None of them ever carries one again."""
        self._silent = True
        for connection in self._connections:
            connection.silent = True
        try:
            yield
        finally:
            self._silent = False

    def _reset_all(self) -> None:
        for connection in self._connections:
            connection.reset()

    async def _accept(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self._cut:
            _reset(to_client)
            return
        try:
            connection = _Connection(from_client, to_client, *await asyncio.open_connection(HOST, self.target), silent=self._silent)
        except OSError:  # the server itself is away
            _reset(to_client)
            return
        self._connections.add(connection)
        in_transit: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        forward = asyncio.create_task(_send_on(connection))
        receiving = asyncio.create_task(self._receive(connection, in_transit))
        backward = asyncio.create_task(_send_back(connection, in_transit))
        await asyncio.wait({forward, backward}, return_when=asyncio.FIRST_COMPLETED)
        for task in (forward, receiving, backward):
            task.cancel()
        await asyncio.gather(forward, receiving, backward, return_exceptions=True)
        connection.close()
        self._connections.discard(connection)

    async def _receive(self, connection: _Connection, in_transit: asyncio.Queue[tuple[float, bytes]]) -> None:
        """Send what the server says on its way, each piece with the time at which it arrives, and at last that it says no more."""
        try:
            while data := await connection.from_server.read(_READ_BYTES):
                in_transit.put_nowait((time.monotonic() + self._delay_seconds, data))
        finally:
            in_transit.put_nowait((time.monotonic() + self._delay_seconds, b""))


async def _send_on(connection: _Connection) -> None:
    """From the client to the server, until the client ends it."""
    while data := await connection.from_client.read(_READ_BYTES):
        if not connection.silent:
            connection.to_server.write(data)
            await connection.to_server.drain()


async def _send_back(connection: _Connection, in_transit: asyncio.Queue[tuple[float, bytes]]) -> None:
    """To the client, until the server ends it; of a silent connection the client does not hear even that."""
    while True:
        due, data = await in_transit.get()
        await asyncio.sleep(due - time.monotonic())
        if connection.silent:
            continue
        if not data:
            return
        connection.to_client.write(data)
        await connection.to_client.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_WHEN_CLOSED)
    writer.transport.abort()
