"""A database like production's: the web application's tables with rows from several years, and our migrations on top."""

import asyncio
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import httpx
import psycopg
from psycopg import sql

from devstack.stack import Stack
from storage.migrations import Migration, read_migrations
from storage.rows import Rows

SCHEMA: Final = "captionacc"
"""The schema's name in newer installations."""

TABLES: Final = Path(__file__).with_name("existing_tables.sql")


def make_existing_tables(stack: Stack, schema: str) -> None:
    """Create the web application's tables, and none of ours."""
    with psycopg.connect(stack.config.dsn("supabase_admin"), autocommit=True) as connection:  # the owner of the schema auth
        connection.execute("create table if not exists auth.users (id uuid primary key default gen_random_uuid())")
        connection.execute("grant select, insert, references on auth.users to postgres")
    with psycopg.connect(stack.dsn, autocommit=True) as connection:
        connection.execute(TABLES.read_text().replace("{schema}", schema).encode())


def apply(stack: Stack, migrations: list[Migration]) -> None:
    with psycopg.connect(stack.dsn, autocommit=True) as connection:
        for migration in migrations:
            with connection.transaction():
                connection.execute(migration.sql.encode())


async def serve_existing_tables(stack: Stack) -> str:
    """Create and migrate such a schema, let the stack's API serve it, and return its name."""
    make_existing_tables(stack, SCHEMA)
    apply(stack, read_migrations(SCHEMA))
    with psycopg.connect(stack.config.dsn("supabase_admin"), autocommit=True) as connection:
        schemas = f"public,{stack.config.schema},{SCHEMA}"
        connection.execute(sql.SQL("alter role authenticator set pgrst.db_schemas = {}").format(sql.Literal(schemas)))
        connection.execute("notify pgrst, 'reload config'")
        connection.execute("notify pgrst, 'reload schema'")
    key = stack.env["SUPABASE_SERVICE_ROLE_KEY"]
    headers = {"apikey": key, "Accept-Profile": SCHEMA, "Content-Profile": SCHEMA}
    async with httpx.AsyncClient(base_url=f"{stack.env['SUPABASE_URL']}/rest/v1/", headers=headers) as client:
        for _ in range(300):
            if (await client.post("rpc/check_service", json={})).is_success:
                return SCHEMA
            await asyncio.sleep(0.1)
    raise AssertionError(f"the API does not serve {SCHEMA}")


def add_video(dsn: str, schema: str, tenant_id: UUID, video_id: UUID) -> None:
    """Write the rows that the web application writes when a video is uploaded."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("set search_path = {}").format(sql.Identifier(schema)))
        connection.execute("insert into tenants values (%s, 'of a test') on conflict do nothing", [tenant_id])
        connection.execute("insert into videos (id, tenant_id) values (%s, %s) on conflict do nothing", [video_id, tenant_id])


def add_user(dsn: str, schema: str, tenant_id: UUID) -> UUID:
    """Create a user of an existing tenant."""
    user_id = uuid4()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("set search_path = {}").format(sql.Identifier(schema)))
        connection.execute("insert into auth.users values (%s)", [user_id])
        connection.execute("insert into user_profiles (id, tenant_id) values (%s, %s)", [user_id, tenant_id])
    return user_id


class RowsOfKnownVideos(Rows):
    """Adds every video to the web application's tables before its request, as an upload would."""

    dsn: str

    def upload(self, request):
        add_video(self.dsn, SCHEMA, request.tenant_id, request.video_id)

    async def admit(self, request, limits):
        self.upload(request)
        return await super().admit(request, limits)

    async def complete_run(self, run, stored):
        self.upload(run)
        return await super().complete_run(run, stored)
