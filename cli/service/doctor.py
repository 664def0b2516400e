"""``extents doctor``: tests each dependency, and says how to fix problems."""

import asyncio
import sys
from typing import Final

import click

from cli.service.checks import CheckResult, State, checks_of, run_check
from cli.shared.output import print_json
from cli.shared.parameters import json_option
from core.settings import ROLE_SECTIONS, Settings

_MARKS: Final = {State.OK: "ok", State.WARNING: "warning", State.FAULT: "FAULT", State.SKIPPED: "skipped"}


@click.command(
    epilog="""\b
Examples:
  extents doctor
  extents doctor --role gpu
  extents doctor --json | jq '.[] | select(.state == "fault")'
\b
Exit status 1 if something is wrong; warnings do not count.
\b
Settings: all of docs/configuration.md."""
)
@click.option("--role", type=click.Choice(tuple(ROLE_SECTIONS)), help="Check only what this kind of worker needs.  [default: all]")
@json_option
def command(role: str | None, as_json: bool) -> None:
    """Check settings, brokers, topics, object store, database, model and device; say what is wrong and how to fix it.

    Each check uses the real dependency: it logs in, writes an object and deletes it, calls the database functions that only
    the service may call, loads the model and predicts with it. It leaves nothing behind, unless the store refuses the
    deletion.
    """
    results = asyncio.run(_run(Settings(), role))
    if as_json:
        print_json([{"check": result.name, "state": result.state, "found": result.message, "advice": result.advice} for result in results])
    else:
        for result in results:
            _print(result)
    sys.exit(1 if any(result.state is State.FAULT for result in results) else 0)


def _print(result: CheckResult) -> None:
    """Print result and advice on separate lines, in full: a terminal wraps them."""
    click.echo(f"{_MARKS[result.state]:<8} {result.name:<13} {result.message}")
    if result.advice:
        click.echo(f"{'':<22} {result.advice}")


async def _run(settings: Settings, role: str | None) -> list[CheckResult]:
    return [await run_check(check, settings) for check in checks_of(role)]
