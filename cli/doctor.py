"""``extents doctor``: check each dependency for real, and say how to mend what is wrong."""

import asyncio
import sys

import click

from cli.checks import Check, Found, State, all_checks, run_check
from cli.output import print_json, print_table, remark
from cli.parameters import json_option
from core.settings import Settings

_MARKS = {State.OK: "ok", State.WARNING: "warning", State.FAULT: "FAULT"}


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Check settings, brokers and topics, object store, database, model and device; say what is wrong and how to mend it.

    Each check is the real thing: it logs in, writes an object and deletes it again, asks the database for what only the
    service may ask, loads the model and predicts with it. Exit status 1 when something is wrong; a warning is not.

    \b
      extents doctor
      extents doctor --json | jq '.[] | select(.state != "ok")'
    """
    settings = Settings()
    found = asyncio.run(_run(all_checks(settings)))
    faults = sum(check.state is State.FAULT for check in found)
    if as_json:
        print_json([{"check": one.name, "state": one.state, "found": one.found, "mend": one.mend} for one in found])
    else:
        print_table(("check", "", "found"), [(one.name, _MARKS[one.state], one.found) for one in found])
        for one in found:
            if one.mend:
                remark(f"{one.name}: {one.mend}")
    sys.exit(1 if faults else 0)


async def _run(checks: list[Check]) -> list[Found]:
    return [await run_check(check) for check in checks]
