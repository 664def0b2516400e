"""Options that several commands share."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click

from core.identity import parse_uuid
from core.types import MODEL_VERSION, Anchor

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


class CropParameter(click.ParamType):
    """``L,T,R,B`` in pixels, as four whole numbers. Does not check that the box lies within the film."""

    name = "L,T,R,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int, int]:
        try:
            left, top, right, bottom = (int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(
                f"{value!r} is not four whole numbers, such as 0,600,1280,700; this command takes pixels only, "
                "and extents crop FILM prints them",
                param,
                ctx,
            )
        return left, top, right, bottom


class UuidParameter(click.ParamType):
    """A UUID, written with hyphens."""

    name = "UUID"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> UUID:
        try:
            return parse_uuid(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a UUID, such as 3f2b8c1e-0d4a-4c57-9a61-7b1f0c2d9e55", param, ctx)


class MomentParameter(click.ParamType):
    """A moment (ISO 8601, in UTC unless it names a zone), or an age such as 90m, 12h, 7d."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value)
        try:
            if text[-1:] in _UNITS and text[:-1].isdigit():
                return datetime.now(UTC) - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is neither a moment, such as 2026-05-01T12:00, nor an age, such as 90m, 12h or 7d", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class ModelVersionParameter(click.ParamType):
    """A model version."""

    name = "VERSION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if MODEL_VERSION.fullmatch(str(value)) is None:
            self.fail(
                f"{value!r} is not a model version; expected up to 64 letters, digits, '.', '_' and '-', starting with a letter or digit",
                param,
                ctx,
            )
        return str(value)


class PictureParameter(click.Path):
    """The name of a picture to write, whose extension is that of a format that can be written."""

    def __init__(self, *extensions: str) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self._extensions = extensions

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.suffix.lower() not in self._extensions:
            self.fail(f"{path} is not a name for a picture; expected one that ends in {' or '.join(self._extensions)}", param, ctx)
        return path


crop_option = click.option(
    "--crop",
    type=CropParameter(),
    required=True,
    metavar="L,T,R,B",
    help="The strip that contains the captions: left, top, right and bottom in pixels of the film.",
)

anchor_option = click.option(
    "--anchor",
    type=click.Choice([anchor.value for anchor in Anchor]),
    default=Anchor.CENTER.value,
    show_default=True,
    help="How the captions are aligned.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
