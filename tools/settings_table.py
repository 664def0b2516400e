"""``docs/configuration.md`` from the settings themselves. ``python -m tools.settings_table`` writes it."""

from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from core.settings import Settings, variable
from core.variables import is_secret

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"

_HEAD: Final = """\
# Configuration

Made by `.venv/bin/python -m tools.settings_table` from [the settings](../core/settings.py); a test fails when it is not up to date.

Every setting is an environment variable. A file `.env` in the working directory is read as well; the environment comes before it.
A process reads its settings once, when it starts, and ends with a message that names each variable that is missing or wrong.
Whitespace around a value is ignored, and an empty variable counts as not set. `extents doctor` tries the dependencies
themselves; it and the workers warn about variables that look like a setting and are none.

Secrets are masked in logs, events, rows, dead letters and output, unless they have fewer than four characters.
A secret may also come from a file, as containers mount them: set the variable with `_FILE` behind its name to the file's path instead.
"""


def page() -> str:
    """The page: a table for each section."""
    return "\n".join([_HEAD, *(_table(section) for section in Settings.SECTIONS)])


def _table(section: type[BaseSettings]) -> str:
    heading = f"## {section.__name__.removesuffix('Settings')}\n\n{(section.__doc__ or '').strip()}"
    rows = [f"| `{variable(section, name)}` | {_default(field)} | {_meaning(field)} |" for name, field in section.model_fields.items()]
    return "\n".join([heading, "", "| variable | default | meaning |", "| --- | --- | --- |", *rows, ""])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    value = field.default.value if isinstance(field.default, Enum) else field.default
    if value in (None, ""):
        return "*none*"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _meaning(field: FieldInfo) -> str:
    text, choices = field.description or "", _choices(field.annotation)
    if is_secret(field):
        return f"{text} A secret; `_FILE` behind the name: its file."
    complete = all(choice in text for choice in choices)
    return text if complete else f"{text} One of {', '.join(f'`{choice}`' for choice in choices)}."


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(member.value) for member in annotation]
    return []


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
