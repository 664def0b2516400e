"""A reverse proxy for one HTTP server, which sometimes fails as servers and the proxies in front of them do.

It forwards every byte unchanged, including the Host header, because S3's signatures cover it.
"""

import asyncio
import contextlib
import io
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

from devstack.ports import HOST, choose_ports

_HOP_HEADERS: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "expect"})
_AUTO_HEADERS: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_ERROR_PAGE: Final = b"<Error><Code>%s</Code><Message>made to fail</Message></Error>"


class Fault(StrEnum):
    """What happens to a request. Half of the requests without a proper answer have taken effect anyway."""

    ERROR = "500"
    SLOW_DOWN = "503"
    FULL = "507 to every PUT"
    SILENCE = "no answer"
    RESET = "reset"
    CUT = "cut body"
    LATE = "late answer"
    RUBBISH = "rubbish"
    WRONG_AFTER_UPLOAD = "wrong bytes after upload"


_PAGES: Final = {Fault.ERROR: (500, b"InternalError"), Fault.SLOW_DOWN: (503, b"SlowDown"), Fault.FULL: (507, b"InsufficientStorage")}

_WITHOUT_ANSWER: Final = frozenset({Fault.ERROR, Fault.SLOW_DOWN, Fault.SILENCE, Fault.RESET})

Requests = Callable[[str, str], bool]
"""Whether it selects a request, by method and path."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(eq=False, slots=True)
class HttpProxy:
    """Forwards to ``upstream``, a URL without a path. Belongs to one event loop; ``rng`` makes all random choices.

    Attributes:
        requests: how many have reached it.
        faults: how often each fault was made.
        late_seconds: the delay of a late answer.
    """

    upstream: str
    rng: random.Random
    late_seconds: float = 1.0
    requests: int = 0
    faults: "Counter[Fault]" = field(default_factory=Counter)
    _port: int = field(default_factory=lambda: choose_ports(["proxy"], {})["proxy"])
    _kinds: tuple[Fault, ...] = ()
    _rate: float = 0.0
    _of: Requests = lambda method, path: True
    _uploaded: set[str] = field(default_factory=set)
    _session: aiohttp.ClientSession = field(init=False)
    _server: web.Server = field(init=False)
    _runner: web.ServerRunner = field(init=False)
    _site: web.TCPSite = field(init=False)

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self._port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["HttpProxy"]:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False, skip_auto_headers=_AUTO_HEADERS) as self._session:
            self._server = web.Server(self._handle, handler_cancellation=True)
            self._runner = web.ServerRunner(self._server, shutdown_timeout=1.0)
            await self._runner.setup()
            await self._listen()
            try:
                yield self
            finally:
                await self._runner.cleanup()

    @contextlib.contextmanager
    def failing(self, *faults: Fault, rate: float = 1.0, of: Requests = lambda method, path: True) -> Iterator[None]:
        """Give this share of these requests one of these faults."""
        self._kinds, self._rate, self._of = faults, rate, of
        try:
            yield
        finally:
            self._kinds, self._rate = (), 0.0

    @contextlib.asynccontextmanager
    async def unreachable(self) -> AsyncIterator[None]:
        """Refuse connections, and cut off those that are open."""
        await self._site.stop()
        for connection in list(self._server.connections):
            connection.force_close()
        try:
            yield
        finally:
            await self._listen()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, HOST, self._port)
        await self._site.start()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        fault = self._draw(request)
        if fault is not None:
            self.faults[fault] += 1
        in_vain = fault is Fault.FULL or (fault in _WITHOUT_ANSWER and self.rng.random() < 0.5)
        if in_vain and fault is Fault.SILENCE:
            await asyncio.Event().wait()
        if "Expect" in request.headers:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await request.content.read()
        if in_vain:
            return await self._fail(request, fault)
        if fault is Fault.LATE:
            await asyncio.sleep(self.late_seconds)
        try:
            response = await self._forward(request, body)
        except aiohttp.ClientError:  # the server itself is away
            return await self._fail(request, Fault.RESET)
        if fault in _WITHOUT_ANSWER:
            return await self._fail(request, fault)
        if fault in (Fault.RUBBISH, Fault.WRONG_AFTER_UPLOAD) and response.status == 200:
            response = _Answer(response.status, response.reason, response.headers, bytes(byte ^ 0xFF for byte in response.body))
        return await _send(request, response, cut=fault is Fault.CUT)

    def _draw(self, request: web.BaseRequest) -> Fault | None:
        """The fault that a request meets, if any. The first GET after a PUT is the one that reads back."""
        reads_back = request.method == "GET" and request.path in self._uploaded
        self._uploaded.discard(request.path)
        if request.method == "PUT":
            self._uploaded.add(request.path)
        if not self._kinds or not self._of(request.method, request.path) or self.rng.random() >= self._rate:
            return None
        fault = self.rng.choice(self._kinds)
        fits = {Fault.FULL: request.method == "PUT", Fault.RUBBISH: request.method == "GET", Fault.WRONG_AFTER_UPLOAD: reads_back}
        return fault if fits.get(fault, True) else None

    async def _forward(self, request: web.BaseRequest, body: bytes) -> _Answer:
        url = URL(self.upstream + request.raw_path, encoded=True)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_HEADERS]
        async with self._session.request(
            request.method, url, headers=headers, data=io.BytesIO(body) if body else None, allow_redirects=False
        ) as response:
            kept = {name: value for name, value in response.headers.items() if name.lower() not in _HOP_HEADERS - {"content-length"}}
            return _Answer(response.status, response.reason or "", kept, await response.read())

    async def _fail(self, request: web.BaseRequest, fault: Fault | None) -> web.StreamResponse:
        if fault in _PAGES:
            status, code = _PAGES[fault]
            page = _ERROR_PAGE % code
            return await _send(request, _Answer(status, code.decode(), {"Content-Length": str(len(page))}, page))
        if fault is Fault.SILENCE:
            await asyncio.Event().wait()
        return _hang_up(request)


async def _send(request: web.BaseRequest, answer: _Answer, *, cut: bool = False) -> web.StreamResponse:
    if cut and (request.method == "HEAD" or not answer.body):
        return _hang_up(request)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=answer.headers)
    await response.prepare(request)
    if request.method != "HEAD":
        await response.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
    if cut:
        assert request.transport is not None
        request.transport.close()
        return response
    await response.write_eof()
    return response


def _hang_up(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
