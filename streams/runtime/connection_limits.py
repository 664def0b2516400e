"""Limits the connections of a small HTTP server, so that clients that connect and send nothing cannot exhaust the file descriptors."""

import asyncio
import resource
from collections.abc import Callable
from typing import Final

from aiohttp.web_protocol import RequestHandler

CONNECTION_SECONDS: Final = 10.0
"""Interval of the check that closes connections without a request in progress. The response of a page that follows events takes longer."""

MAX_CONNECTIONS: Final = 64
SHARE_OF_DESCRIPTORS: Final = 8
"""Connections may use one in this many of the file descriptors that the process may open."""


class ConnectionLimits:
    """A protocol factory for ``loop.create_server`` that closes the oldest connection when there are too many.

    A new connection is therefore always accepted. A probe takes only milliseconds, so a flood of idle connections displaces only itself.
    """

    def __init__(self, make: Callable[[], RequestHandler], most: int | None = None) -> None:
        self._make, self._most, self._seconds = make, most or most_connections(), CONNECTION_SECONDS
        self._open: dict[RequestHandler, float] = {}
        """The connections, oldest first, and when each was accepted."""

    def __call__(self) -> RequestHandler:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection, accepted in list(self._open.items()):
            if connection.transport is None and now - accepted > 1.0:  # closed; one that was just accepted has no transport yet
                del self._open[connection]
        while len(self._open) >= self._most:
            self._end(next(iter(self._open)))
        connection = self._make()
        self._open[connection] = now
        loop.call_later(self._seconds, self._end_idle, connection)
        return connection

    def _end_idle(self, connection: RequestHandler) -> None:
        if connection._request_in_progress:  # aiohttp has no accessor
            asyncio.get_running_loop().call_later(self._seconds, self._end_idle, connection)
        else:
            self._end(connection)

    def _end(self, connection: RequestHandler) -> None:
        if self._open.pop(connection, None) is not None and connection.transport is not None:
            connection.transport.abort()


def most_connections() -> int:
    """Return the maximum number of connections that leaves enough file descriptors for the work."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if limit == resource.RLIM_INFINITY else max(8, min(MAX_CONNECTIONS, limit // SHARE_OF_DESCRIPTORS))
