"""A TCP proxy that makes a network fail: it resets connections, delays responses, or swallows requests."""

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
    """A client's connection and the one to its server. Once ``silent``, it carries nothing any more."""

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
        """The number of connections, including silent ones."""
        return len(self._connections)

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Reset all connections, including new ones."""
        self._cut = True
        self._reset_all()
        try:
            yield
        finally:
            self._cut = False

    @contextlib.contextmanager
    def slow(self, delay_seconds: float) -> Iterator[None]:
        """Delay what the server sends by this much; any amount can be in transit."""
        self._delay_seconds = delay_seconds
        try:
            yield
        finally:
            self._delay_seconds = 0.0

    @contextlib.contextmanager
    def half_open(self) -> Iterator[None]:
        """Keep connections and accept new ones, but swallow every byte. None of them carries anything afterwards either."""
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
        """Forward what the server sends, each piece when its delay is over, and finally the end of the stream."""
        try:
            while data := await connection.from_server.read(_READ_BYTES):
                in_transit.put_nowait((time.monotonic() + self._delay_seconds, data))
        finally:
            in_transit.put_nowait((time.monotonic() + self._delay_seconds, b""))


async def _send_on(connection: _Connection) -> None:
    """Forward from the client to the server until the client ends."""
    while data := await connection.from_client.read(_READ_BYTES):
        if not connection.silent:
            connection.to_server.write(data)
            await connection.to_server.drain()


async def _send_back(connection: _Connection, in_transit: asyncio.Queue[tuple[float, bytes]]) -> None:
    """Forward to the client until the server ends; the client of a silent connection does not even see the end."""
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
