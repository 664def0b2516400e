"""Applies the migrations as ``supabase db push`` does: in the order of their names, each once."""

import psycopg

from core.errors import ConfigurationError
from storage.migrations import read_migrations

# The table in which Supabase's own tool records what it applied.
_HISTORY = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text primary key, statements text[], name text);
"""


async def apply_migrations(dsn: str, schema: str) -> list[str]:
    """Bring the schema up to date, each file in its own transaction. Returns the names of the files applied now.

    Raises:
        ConfigurationError: a file fails, or one that was applied has been changed since.
    """
    applied: list[str] = []
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(_HISTORY)
        rows = await connection.execute("select version, array_to_string(statements, '') from supabase_migrations.schema_migrations")
        known: dict[str, str] = dict(await rows.fetchall())
        for migration in read_migrations(schema):
            if migration.version in known:
                if known[migration.version] != migration.sql:
                    raise ConfigurationError(
                        f"{migration.file} has changed since it was applied; "
                        "put changes in a new file, or delete the stack's data: extents dev down --name NAME --purge"
                    )
                continue
            try:
                async with connection.transaction():
                    await connection.execute(migration.sql.encode())
                    await connection.execute(
                        "insert into supabase_migrations.schema_migrations (version, statements, name) values (%s, %s, %s)",
                        (migration.version, [migration.sql], migration.name),
                    )
            except psycopg.Error as error:
                raise ConfigurationError(f"migration {migration.file} failed: {error}") from error
            applied.append(migration.file)
    return applied
