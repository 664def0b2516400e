"""Supabase's gateway, a process in front of PostgREST: serves ``/rest/v1`` to clients with one of the project's API keys."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

from devstack.config import StackConfig
from devstack.part import Part
from devstack.ports import HOST

NAME: Final = "rest"
PREFIX: Final = "/rest/v1"

_SESSION: Final = web.AppKey("session", aiohttp.ClientSession)
_UPSTREAM: Final = web.AppKey("upstream", str)
_KEYS: Final = web.AppKey("keys", frozenset[str])

# Headers of a connection rather than of the message, and the length, which changes when a body is decompressed on the way.
_HOP_HEADERS: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "content-length", "host"})


def gateway_part(config: StackConfig, folder: Path) -> Part:
    async def check() -> None:
        headers = {"apikey": config.service_role_key, "Accept-Profile": config.schema}
        url = f"{config.rest_url}{PREFIX}/"
        async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(url, headers=headers):
            pass

    environment = {
        "GATEWAY_PORT": str(config.ports[NAME]),
        "GATEWAY_UPSTREAM": f"http://{HOST}:{config.ports['postgrest']}",
        "GATEWAY_KEYS": f"{config.anon_key},{config.service_role_key}",
    }
    return Part(NAME, [sys.executable, "-P", "-m", "devstack.gateway"], folder, check, environment)


def gateway_app(upstream: str, keys: frozenset[str]) -> web.Application:
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app[_UPSTREAM], app[_KEYS] = upstream, keys
    app.cleanup_ctx.append(_client_session)
    app.router.add_route("*", PREFIX + "/{path:.*}", _forward)
    return app


async def _client_session(app: web.Application) -> AsyncIterator[None]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        app[_SESSION] = session
        yield


async def _forward(request: web.Request) -> web.StreamResponse:
    key = request.headers.get("apikey")
    if key is None:
        return web.json_response({"message": "No API key found in request", "hint": "Send it in the header `apikey`."}, status=401)
    if key not in request.app[_KEYS]:
        return web.json_response({"message": "Invalid API key", "hint": "Use the anon or the service_role key of this stack."}, status=401)
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_HEADERS | {"apikey"}}
    headers.setdefault("Authorization", f"Bearer {key}")
    # Unchanged: decoding and encoding it again would alter the filters that PostgREST reads.
    url = URL(request.app[_UPSTREAM] + request.raw_path.removeprefix(PREFIX), encoded=True)
    body = await request.read()
    try:
        response = await request.app[_SESSION].request(request.method, url, headers=headers, data=body, allow_redirects=False)
    except aiohttp.ClientError as error:
        return web.json_response({"message": f"PostgREST does not answer: {error}"}, status=503)
    async with response:
        kept = [(name, value) for name, value in response.headers.items() if name.lower() not in _HOP_HEADERS]
        return web.Response(status=response.status, headers=dict(kept), body=await response.read())


def main() -> None:
    keys = frozenset(os.environ["GATEWAY_KEYS"].split(","))
    host = os.environ.get("GATEWAY_HOST", HOST)
    web.run_app(gateway_app(os.environ["GATEWAY_UPSTREAM"], keys), host=host, port=int(os.environ["GATEWAY_PORT"]), print=None)


if __name__ == "__main__":
    main()
