"""``extents migrations`` prints and writes the database's migrations for any schema."""

import json

import pytest

from core.settings import SchemaSettings
from storage.migrations import read_migrations


def test_all_are_printed_for_the_schema_that_is_named(extents, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--schema`` overrides SUPABASE_SCHEMA, which overrides the default; all files are in one transaction."""
    for arguments, schema in (((), "captionacc_production"), ((), "from_setting"), (("--schema", "captionacc"), "captionacc")):
        if schema == "from_setting":
            monkeypatch.setenv("SUPABASE_SCHEMA", schema)
        done = extents("migrations", "print", *arguments)
        assert (done.status, done.err) == (0, "")
        files = [f"-- {migration.file}\n{migration.sql}\n" for migration in read_migrations(schema)]
        assert done.out == f"begin;\n{''.join(files)}commit;\n"
    listed = json.loads(extents("migrations", "print", "--json", "--schema", "captionacc").out)
    assert listed == [{"file": migration.file, "sql": migration.sql} for migration in read_migrations("captionacc")]
    assert SchemaSettings().schema_name == "from_setting"


def test_they_are_written_once(extents, tmp_path) -> None:
    """Equal files are kept; a different one, which may have been applied, gives an error that names it."""
    folder = tmp_path / "supabase" / "migrations"
    assert extents("migrations", "write", folder, "--schema", "captionacc").status == 0
    assert [file.read_text() for file in sorted(folder.iterdir())] == [migration.sql for migration in read_migrations("captionacc")]
    again = extents("migrations", "write", folder, "--schema", "captionacc", "--json")
    assert json.loads(again.out) == {"folder": str(folder), "written": []}
    other = extents("migrations", "write", folder, "--schema", "other")
    assert other.status == 1
    assert f"{folder / read_migrations('x')[0].file} exists and differs" in other.err


@pytest.mark.parametrize("name", ["", "a b", "x; drop table y", "Upper", "1a", "a" * 64])
def test_what_is_no_name_is_refused(extents, name: str) -> None:
    """A name that PostgreSQL would not accept unquoted is rejected."""
    done = extents("migrations", "print", "--schema", name)
    assert (done.status, done.out) == (2, "")
