"""Applies ``deploy/supabase/migrations/*.sql`` as ``supabase db push`` does: in the order of their names, each once."""

from pathlib import Path

import psycopg

from core.errors import ConfigurationError

# The table in which Supabase's own tool records what it applied.
_HISTORY = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text primary key, statements text[], name text);
"""


async def apply_migrations(dsn: str, folder: Path) -> list[str]:
    """Bring the database up to date; each file in a transaction of its own. Returns the names of those applied now.

    A file is named ``{version}_{name}.sql``.

    Raises:
        ConfigurationError: a file fails, or one that was applied has been changed since.
    """
    applied: list[str] = []
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(_HISTORY)
        rows = await connection.execute("select version, array_to_string(statements, '') from supabase_migrations.schema_migrations")
        known: dict[str, str] = dict(await rows.fetchall())
        for path in sorted(folder.glob("*.sql")):
            version, _, name = path.stem.partition("_")
            statements = path.read_text()
            if version in known:
                if known[version] != statements:
                    raise ConfigurationError(
                        f"{path.name} was applied in another form than it has now; "
                        "put changes in a new file, or throw the stack's data away: extents dev down --name NAME --purge"
                    )
                continue
            try:
                async with connection.transaction():
                    await connection.execute(statements.encode())
                    await connection.execute(
                        "insert into supabase_migrations.schema_migrations (version, statements, name) values (%s, %s, %s)",
                        (version, [statements], name),
                    )
            except psycopg.Error as error:
                raise ConfigurationError(f"migration {path.name} failed: {error}") from error
            applied.append(path.name)
    return applied
