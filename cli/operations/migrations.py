"""``extents migrations``: the SQL that creates the service's tables, for the schema of this installation."""

from pathlib import Path
from typing import Final

import click

from cli.shared.output import print_json, remark
from cli.shared.parameters import json_option
from core.errors import ConfigurationError
from core.settings import SchemaSettings, read_section
from storage.migrations import Migration, as_script, is_schema_name, read_migrations

_SETTINGS: Final = "\n\b\nSettings: SUPABASE_SCHEMA, unless --schema is given."


def _schema(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    if value is None:
        return read_section(SchemaSettings).schema_name
    if not is_schema_name(value):
        raise click.BadParameter(f"{value!r} is not a valid schema name; expected a lower-case letter, then letters, digits and _")
    return value


_schema_option = click.option("--schema", metavar="NAME", callback=_schema, help="Schema of the tables.  [default: SUPABASE_SCHEMA]")


@click.group(
    epilog=f"""\b
Examples:
  extents migrations print | psql --set ON_ERROR_STOP=1 "$DATABASE_URL"
  extents migrations write supabase/migrations && supabase db push
{_SETTINGS}"""
)
def command() -> None:
    """Print or write the SQL that creates the service's tables and functions, or brings older ones up to date.

    It works on an empty project and on one with the web application's tables. Every migration can be applied repeatedly.
    """


@command.command(
    "print",
    epilog=f"""\b
Examples:
  extents migrations print --schema captionacc
  extents migrations print | psql --set ON_ERROR_STOP=1 "$DATABASE_URL"
  extents migrations print --json | jq -r '.[].file'
{_SETTINGS}""",
)
@_schema_option
@json_option
def print_(schema: str, as_json: bool) -> None:
    """Print all migrations, as one transaction. A running service sees either the old functions or the new ones."""
    migrations = read_migrations(schema)
    if as_json:
        print_json([{"file": migration.file, "sql": migration.sql} for migration in migrations])
        return
    click.echo(as_script(migrations), nl=False)


@command.command(
    epilog=f"""\b
Examples:
  extents migrations write supabase/migrations
  extents migrations write supabase/migrations --schema captionacc
{_SETTINGS}"""
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@_schema_option
@json_option
def write(folder: Path, schema: str, as_json: bool) -> None:
    """Write each migration to its own file in FOLDER.

    The Supabase command line applies them from there. Existing files are kept. An existing file with other content is an
    error, because it may have been applied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [migration.file for migration in read_migrations(schema) if _write(folder / migration.file, migration)]
    if as_json:
        print_json({"folder": str(folder), "written": written})
        return
    for name in written:
        click.echo(f"wrote {folder / name}")
    remark(f"{len(written)} migrations written, the others existed")


def _write(file: Path, migration: Migration) -> bool:
    """Write a migration. Return whether its file was missing."""
    if not file.exists():
        file.write_text(migration.sql)
        return True
    if file.read_text() != migration.sql:
        raise ConfigurationError(
            f"{file} exists and differs from this version's; move it away, or give the --schema that it was written for"
        )
    return False
