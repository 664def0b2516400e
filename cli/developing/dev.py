"""``extents dev``: the embedded stack from the command line."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from cli.shared.command_group import CommandGroup
from core.errors import ConfigurationError
from core.settings import Settings
from devstack import stack
from devstack.part import log_path
from devstack.paths import stack_folder
from devstack.stack import ENV_FILE, Stack

_name = click.option("--name", default="dev", show_default=True, help="Name of the stack; each has its own folder and ports.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=CommandGroup)
def command() -> None:
    """Start and stop the embedded stack: Kafka, S3, PostgreSQL and Supabase's REST interface on 127.0.0.1.

    \b
    extents dev up                      start it; if it is running, print its addresses
    . .stack/dev/env                    point the service at it
    extents dev logs kafka-1 -f         follow a server's log
    extents dev down                    stop it, keep its data
    extents dev down --purge            stop it, delete its data
    """


@command.command()
@_name
@click.option("--brokers", type=click.Choice(["1", "3"]), help="Kafka nodes of a new stack (3: replicated, as in production).")
@_json
def up(name: str, brokers: str | None, as_json: bool) -> None:
    """Start the stack and wait until every part of it works.

    \b
    extents dev up
    extents dev up --name cluster --brokers 3
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a half-started stack is stopped
    began = time.monotonic()
    progress = Console(stderr=True)
    running = stack.up(
        stack_folder(name), brokers=int(brokers) if brokers else None, progress=lambda line: progress.print(line, style="dim")
    )
    _check_processes(running)
    for topic in create_topics(running):
        progress.print(f"topic {topic} created", style="dim")
    progress.print(f"up after {time.monotonic() - began:.1f} s", style="dim")
    _print(running, as_json)


@command.command()
@_name
@click.option("--purge", is_flag=True, help="Also delete its data and logs.")
@_json
def down(name: str, purge: bool, as_json: bool) -> None:
    """Stop the stack.

    \b
    extents dev down
    extents dev down --purge
    """
    folder = stack_folder(name)
    known = folder.exists()
    running = stack.down(folder, purge=purge)
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "was_running": running, "purged": purge and known}))
        return
    result = "stopped" if running else "was not running"
    click.echo(f"stack {name} {result}" + (f"; {folder} deleted" if purge and known else ""))


@command.command()
@_name
@_json
def status(name: str, as_json: bool) -> None:
    """Show each part's address and process. Exit status 1 if one is not running.

    \b
    extents dev status
    extents dev status --json
    """
    selected = stack.find(stack_folder(name))
    _print(selected, as_json)
    _check_processes(selected)


@command.command()
@click.argument("part", required=False)
@_name
@click.option("-n", "--lines", default=40, show_default=True, help="How many lines from the end.")
@click.option("-f", "--follow", is_flag=True, help="Keep printing as the log grows.")
def logs(part: str | None, name: str, lines: int, follow: bool) -> None:
    """Print the end of a part's log, or of every part's.

    \b
    extents dev logs
    extents dev logs s3 -n 200
    extents dev logs kafka-1 -f
    """
    selected = stack.find(stack_folder(name))
    names = [*selected.addresses(), "supervisor"]
    if part is not None and part not in names:
        raise ConfigurationError(f"no part {part!r}; there are {', '.join(names)}")
    files = [path for log_name in ([part] if part else names) if (path := log_path(selected.folder, log_name)).exists()]
    subprocess.run(["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, files)], check=False)


@command.command()
@_name
@_json
def env(name: str, as_json: bool) -> None:
    """Print the variables that point the service at the stack.

    \b
    eval "$(extents dev env)"
    extents dev env > .env
    """
    variables = stack.find(stack_folder(name)).env
    click.echo(json.dumps(variables, indent=2) + "\n" if as_json else stack.environment_script(variables), nl=False)


def create_topics(running: Stack) -> list[str]:
    """Create the service's topics on a stack, and return the names of those that were missing."""
    from streams.kafka.topic_admin import ensure_topics
    from streams.topics import Topics  # loads Faust, which nothing else here needs

    os.environ |= running.env  # the settings have no other source
    settings = Settings()
    return asyncio.run(ensure_topics(Topics(settings.topics).specs(), settings.kafka))


def _check_processes(checked: Stack) -> None:
    gone = [part for part in checked.status() if part.pid is None]
    if stack.is_starting(checked.folder):
        raise ConfigurationError(f"the stack is still starting; wait for it: extents dev up --name {checked.folder.name}")
    if stack.is_running(checked.folder) and gone:
        logs = ", ".join(_short(part.log) for part in gone)
        raise ConfigurationError(
            f"{', '.join(part.name for part in gone)} ended unexpectedly (see {logs}); "
            f"start again: extents dev down --name {checked.folder.name}, then up"
        )
    if gone:
        raise ConfigurationError(f"the stack is not running; start it: extents dev up --name {checked.folder.name}")


def _print(shown: Stack, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_as_json(shown), indent=2))
        return
    rows = [
        ("part", "process", "address"),
        *((part.name, str(part.pid) if part.pid else "not running", part.address) for part in shown.status()),
    ]
    for name, process, address in rows:  # the address comes last and is never cut, so that it can be copied
        click.echo(f"{name:<10} {process:<11} {address}")
    click.echo(f"data and logs: {_short(shown.folder)}")
    click.echo(f"environment:   . {shlex.quote(_short(shown.folder / ENV_FILE))}")


def _as_json(shown: Stack) -> dict[str, Any]:
    parts = [{"name": part.name, "address": part.address, "pid": part.pid, "log": str(part.log)} for part in shown.status()]
    return {"folder": str(shown.folder), "brokers": shown.config.brokers, "parts": parts, "env": shown.env}


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
