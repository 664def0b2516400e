"""Lets ``--text``, whose language is optional, stand before a film: ``find --text film.mp4``."""

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Final

import click

from inference.reading.rapid import LANGUAGES

OPTION: Final = "--text"

_LANGUAGE_TAG: Final = re.compile(r"[A-Za-z]{2,}([_-][A-Za-z0-9]+)*")


class CommandWithLanguage(click.Command):
    """Click takes any argument after an option with an optional value for that value. Here, a film after ``--text`` stays a film."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, without_films_as_language(args))


def without_films_as_language(arguments: Sequence[str]) -> list[str]:
    """Write ``--text=`` instead of ``--text`` if no language follows."""
    options = len(list(takewhile(lambda argument: argument != "--", arguments)))
    followers = [*arguments[1:], ""]
    return [
        f"{OPTION}=" if argument == OPTION and place < options and not _is_language(follower) else argument
        for place, (argument, follower) in enumerate(zip(arguments, followers, strict=True))
    ]


def _is_language(text: str) -> bool:
    """Whether the text is a known language, or may be one of another reader and is not a file."""
    return text.lower() in LANGUAGES or (_LANGUAGE_TAG.fullmatch(text) is not None and not Path(text).exists())
