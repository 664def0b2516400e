"""The storage under test: a bucket per test, the shared stack's rows, and an empty schema for tests that count over all rows."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from core.settings import KeySettings
from storage.database import RowsConfig
from storage.keys import Keys
from storage.migrations import read_migrations
from storage.objects import ObjectStore, ObjectStoreConfig
from storage.rows import Rows
from tests.database.existing import SCHEMA, RowsOfKnownVideos


@pytest.fixture
def keys() -> Keys:
    return Keys(**{f"{kind}_template": KeySettings.model_fields[kind].default for kind in ("chunk", "layout", "run_db", "model")})


@pytest.fixture
def store_config(namespace) -> ObjectStoreConfig:
    env = namespace.env
    return ObjectStoreConfig(
        bucket=env["WASABI_BUCKET"],
        access_key=env["WASABI_ACCESS_KEY"],
        secret_key=env["WASABI_SECRET_KEY"],
        region=env["WASABI_REGION"],
        endpoint_url=env["WASABI_ENDPOINT"],
        pool_size=16,
        timeout_seconds=20,
    )


@pytest.fixture
async def store(store_config) -> AsyncIterator[ObjectStore]:
    async with ObjectStore(store_config) as opened:
        yield opened


@pytest.fixture(params=["an empty project", "tables that were there"])
def schema(request, stack) -> str:
    """Both kinds of database: only our migrations, and our migrations on top of the web application's tables."""
    return stack.env["SUPABASE_SCHEMA"] if request.param == "an empty project" else request.getfixturevalue("existing_schema")


@pytest.fixture
def rows_config(stack, schema) -> RowsConfig:
    return RowsConfig(
        url=stack.env["SUPABASE_URL"],
        service_role_key=stack.env["SUPABASE_SERVICE_ROLE_KEY"],
        schema=schema,
        timeout_seconds=20,
    )


@pytest.fixture
async def rows(stack, rows_config) -> AsyncIterator[Rows]:
    kind = RowsOfKnownVideos if rows_config.schema == SCHEMA else Rows
    async with kind(rows_config) as opened:
        opened.dsn = stack.dsn
        yield opened


@pytest.fixture
def own_schema(stack) -> Iterator[str]:
    """A schema of another name with all migrations applied twice, dropped after the test."""
    name = f"test_{uuid4().hex[:12]}"
    with psycopg.connect(stack.dsn, autocommit=True) as connection:
        for _ in range(2):
            for migration in read_migrations(name):
                connection.execute(migration.sql.encode())
        yield name
        connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(name)))


@pytest.fixture
def connect(stack, own_schema):
    """Return a function that opens connections as the service role in the test's own schema."""

    async def opened() -> psycopg.AsyncConnection:
        options = f"-c search_path={own_schema} -c role=service_role"
        return await psycopg.AsyncConnection.connect(stack.dsn, autocommit=True, options=options)

    return opened
