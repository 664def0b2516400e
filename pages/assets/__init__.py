"""Styles, scripts and templates. Files under ``vendor`` are copies of published packages, with their licences."""

from functools import cache
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from core.film_time import clock

_ROOT: Final = files("pages.assets")


@cache
def read_asset(name: str) -> str:
    """Read a file of this folder as text."""
    return _ROOT.joinpath(name).read_text(encoding="utf-8")


@cache
def templates() -> Environment:
    """Return the Jinja templates. Every value is escaped, and a name that a template does not get is an error."""
    environment = Environment(
        loader=PackageLoader("pages.assets", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["clock"] = clock
    return environment
