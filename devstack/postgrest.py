"""PostgREST: serves the database's tables and functions over HTTP."""

from pathlib import Path
from typing import Final

import aiohttp

from devstack.config import StackConfig
from devstack.part import Part
from devstack.paths import postgrest
from devstack.ports import HOST

NAME: Final = "postgrest"


def postgrest_part(config: StackConfig, folder: Path) -> Part:
    """Return the server. The database must have its roles and tables already."""

    async def check() -> None:
        headers = {"Authorization": f"Bearer {config.service_role_key}", "Accept-Profile": config.schema}
        async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(_url(config), headers=headers):
            pass

    environment = {
        "PGRST_DB_URI": config.dsn("authenticator"),
        "PGRST_DB_SCHEMAS": f"public,{config.schema}",
        "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions",
        "PGRST_DB_ANON_ROLE": "anon",
        "PGRST_JWT_SECRET": config.jwt_secret,
        "PGRST_SERVER_HOST": HOST,
        "PGRST_SERVER_PORT": str(config.ports[NAME]),
    }
    return Part(NAME, [str(postgrest())], folder, check, environment)


def _url(config: StackConfig) -> str:
    return f"http://{HOST}:{config.ports[NAME]}/"
