"""``extents ui``: the live page on this machine."""

import asyncio
import secrets

import click
from aiohttp import web

from cli.shared.output import remark
from core.errors import ConfigurationError
from core.settings import Settings
from pages.live.site import Access
from streams.apps.live_page import ROOT, LivePage, access_of

UI_SECTIONS = ("kafka", "topics", "wasabi", "keys", "supabase", "admission", "page")


@click.command(
    epilog="""\b
Examples:
  extents ui
  extents ui --port 8080
\b
Settings: KAFKA_*, WASABI_*, SUPABASE_*, EXTENTS_TOPIC_PREFIX, EXTENTS_PAGE_VIEWER_TOKEN, EXTENTS_PAGE_OPERATOR_TOKEN."""
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8765, show_default=True, help="Port; 0 chooses a free one.")
def command(host: str, port: int) -> None:
    """Serve the live page until Ctrl-C: work in progress, tasks for operators, and each run's captions.

    Coordinators serve the same page at /ui. If the settings have no tokens, an operator's token is generated for this process
    and printed.
    """
    settings = Settings().check(UI_SECTIONS)
    access = access_of(settings)
    if access is None:
        token = secrets.token_urlsafe(18)
        access = Access(None, token)
        remark(f"token: {token}")
    asyncio.run(_serve(settings, access, host, port))


async def _serve(settings: Settings, access: Access, host: str, port: int) -> None:
    async with LivePage(settings, access) as page:
        app = web.Application()
        app.add_subapp(ROOT, page.application)
        app.router.add_get("/", _to_page)
        runner = web.AppRunner(app, access_log=None, handle_signals=True, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
        address, listening, *_ = runner.addresses[0]
        remark(f"live page: http://{address}:{listening}{ROOT}/")
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


async def _to_page(_: web.Request) -> web.Response:
    raise web.HTTPSeeOther(f"{ROOT}/")
