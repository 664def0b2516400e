"""The database's migrations, as plain SQL for any schema. They are in ``deploy/supabase/migrations``; a wheel contains a copy."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import ConfigurationError

WRITTEN_FOR: Final = "captionacc_production"
"""The schema that the files name."""

_FOLDERS: Final = (Path(__file__).parents[1] / "deploy" / "supabase" / "migrations", Path(__file__).parent / "migration_files")
"""In a checkout, and in an installed wheel (``force-include`` in pyproject.toml)."""

_SCHEMA_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def is_schema_name(name: str) -> bool:
    """Whether PostgreSQL accepts the name unquoted and unchanged."""
    return _SCHEMA_NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. ``file`` is ``{version}_{name}.sql``; it may be applied again."""

    file: str
    sql: str

    @property
    def version(self) -> str:
        return self.file.partition("_")[0]

    @property
    def name(self) -> str:
        return self.file.removesuffix(".sql").partition("_")[2]


def read_migrations(schema: str) -> list[Migration]:
    """Read all migrations, in the order in which they are applied, for ``schema``.

    Raises:
        ConfigurationError: the name is not a valid schema name, or the files are not installed.
    """
    if not is_schema_name(schema):
        raise ConfigurationError(f"{schema!r} is not a valid schema name (SUPABASE_SCHEMA); expected {_SCHEMA_NAME.pattern}")
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    if folder is None:
        raise ConfigurationError(
            f"the migrations are not installed: there is no {_FOLDERS[-1]}; install Extents from its wheel or its repository"
        )
    name = schema if schema == WRITTEN_FOR else f'"{schema}"'  # quoted, because it may be a reserved word of SQL
    return [Migration(path.name, path.read_text().replace(WRITTEN_FOR, name)) for path in sorted(folder.glob("*.sql"))]


def as_script(migrations: Iterable[Migration]) -> str:
    """Join all migrations in one transaction.

    Later files replace functions and policies of earlier ones. The transaction keeps a running service and its users from
    seeing the earlier ones again, which would make runs fail on the web application's tables.
    """
    files = "\n".join(f"-- {migration.file}\n{migration.sql}" for migration in migrations)
    return f"begin;\n{files}\ncommit;\n"
