"""What the lists of jobs, runs and rejections share: options that narrow them, the database they are read from, and printing."""

import asyncio
import getpass
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import click

from cli.shared.listing import Column, print_listing, rows_wanted
from cli.shared.parameters import ModelVersionParameter, MomentParameter, UuidParameter
from core.settings import Settings
from storage.connect import open_listings
from storage.listings import Filter, Listings

Command = TypeVar("Command", bound=Callable[..., Any])
T = TypeVar("T")

_OPTIONS = {
    "tenant_id": click.option("--tenant", "tenant_id", type=UuidParameter(), help="Only those of this tenant."),
    "video_id": click.option("--video", "video_id", type=UuidParameter(), help="Only those of this video."),
    "model_version": click.option("--model", "model_version", type=ModelVersionParameter(), metavar="V", help="Only those of this model."),
    "status": click.option(
        "--status", type=click.Choice(["queued", "running", "completed", "failed"]), help="Only those with this status."
    ),
    "priority": click.option("--priority", type=click.Choice(["high", "low"]), help="Only those with this priority."),
    "replay_id": click.option("--replay", "replay_id", metavar="ID", help="Only those that this replay sent."),
    "since": click.option("--since", type=MomentParameter(), help="Only those since this time or age: 2026-05-01T12:00, 12h."),
    "until": click.option("--until", type=MomentParameter(), help="Only those before this time or age."),
}


def filter_options(*names: str) -> Callable[[Command], Command]:
    """Options whose values together are the keyword arguments of a ``Filter``."""

    def add(command: Command) -> Command:
        for name in reversed(names):
            command = _OPTIONS[name](command)
        return command

    return add


def split_filter(options: dict[str, Any], **fixed: Any) -> tuple[Filter, dict[str, Any]]:
    """The filter among a command's options, and the rest of them."""
    fields = {name: value for name, value in options.items() if name in _OPTIONS}
    return Filter(**fields, **fixed), {name: value for name, value in options.items() if name not in fields}


def list_rows(
    read: Callable[[Listings, Filter, int | None], AsyncIterator[dict[str, Any]]],
    columns: Sequence[Column],
    noun: str,
    options: dict[str, Any],
    **fixed: Any,
) -> None:
    """Print the rows that a command with ``filter_options`` and ``listing_options`` was asked for.

    Args:
        read: a method of ``Listings``.
        noun: names one row, such as "job".
        options: the command's, of both kinds.
        fixed: further fields of the ``Filter``.
    """
    chosen, printing = split_filter(options, **fixed)

    async def run(listings: Listings) -> None:
        await print_listing(read(listings, chosen, rows_wanted(printing["limit"], printing["every"])), columns, noun, **printing)

    with_listings(run)


def with_listings(action: Callable[[Listings], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        async with open_listings(Settings().supabase) as listings:
            return await action(listings)

    return asyncio.run(run())


def who() -> str:
    """The user who runs the command, for the audit records."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"
