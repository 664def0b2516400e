"""Prints workers: a table per role, with those that need attention first and their reasons below."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from cli.shared.listing import Column, cell, duration, print_rows
from cli.shared.output import table_width
from core.workers import WorkerState
from streams.topics import COORDINATOR, GPU_WORKER

Worker = Mapping[str, Any]
"""As ``SeenWorker.as_json`` gives it, with ``up_seconds``."""

WORKERS_SHOWN: Final = 20
"""Of each role. All are in ``--json``."""

NAME_WIDTH: Final = 24
MODEL_WIDTH: Final = 18

_ATTENTION: Final = [WorkerState.FAULT, WorkerState.GONE, WorkerState.WAITING, WorkerState.STOPPING, WorkerState.READY]
_LOUD: Final[Mapping[str, str]] = {WorkerState.FAULT: "FAULT", WorkerState.GONE: "GONE"}


def _present(heading: str, text: Callable[[Worker], str]) -> Column:
    """A current figure, which a worker that has gone does not have."""
    return Column(heading, lambda worker: "" if worker["state"] == WorkerState.GONE else text(worker), right=True)


_COMMON: Final = (
    Column("state", lambda worker: _LOUD.get(worker["state"], worker["state"])),
    Column("beat", lambda worker: duration(worker["beat_age_seconds"]), right=True),
    Column("up", lambda worker: duration(worker["up_seconds"]), right=True),
)
_COLUMNS: Final[Mapping[str, Sequence[Column]]] = {
    COORDINATOR: (
        Column("coordinator", lambda worker: _name(worker["worker"])),
        *_COMMON,
        cell("version"),
        _present("runs", lambda worker: str(worker["in_hand"])),
    ),
    GPU_WORKER: (
        Column("GPU worker", lambda worker: _name(worker["worker"])),
        *_COMMON,
        Column("device", lambda worker: worker["device"] or "", flexible=True),
        Column("model", lambda worker: _models(worker["models"])),
        _present("pairs/s", lambda worker: f"{worker['pairs_per_second'] or 0:.0f}"),
        _present("busy", lambda worker: f"{worker['busy_share'] or 0:.0%}"),
        _present("spans", lambda worker: str(worker["in_hand"])),
    ),
}


def print_workers(workers: Sequence[Worker]) -> None:
    """Print the tables, with an empty line above each."""
    for role, columns in _COLUMNS.items():
        mine = sorted((worker for worker in workers if worker["role"] == role), key=lambda worker: _ATTENTION.index(worker["state"]))
        if not mine:
            continue
        click.echo()
        print_rows(columns, mine[:WORKERS_SHOWN])
        if len(mine) > WORKERS_SHOWN:
            click.echo(f"and {len(mine) - WORKERS_SHOWN} more: --json has all")
        for worker in mine[:WORKERS_SHOWN]:
            _print_reasons(worker)


def summarize(workers: Sequence[Worker]) -> str:
    """``3 ready, 1 waiting``."""
    counts = {state: sum(worker["state"] == state for worker in workers) for state in WorkerState}
    return ", ".join(f"{count} {_LOUD.get(state, state)}" for state, count in counts.items() if count)


def _print_reasons(worker: Worker) -> None:
    if worker["state"] == WorkerState.GONE:  # its last report is out of date
        return
    for word, reasons in (("is not alive:", worker["faults"]), ("waits for", worker["waits"])):
        for reason in reasons:
            for line in textwrap.wrap(f"{_name(worker['worker'])} {word} {reason}", table_width(), subsequent_indent="    "):
                click.echo(line)


def _name(worker: str) -> str:
    """Shortened from the left, since the end of the name distinguishes the pods of a deployment."""
    return worker if len(worker) <= NAME_WIDTH else f"…{worker[1 - NAME_WIDTH :]}"


def _models(models: Sequence[str]) -> str:
    if not models:
        return ""
    more = f" +{len(models) - 1}" if len(models) > 1 else ""
    room = MODEL_WIDTH - len(more)
    first = models[0] if len(models[0]) <= room else f"{models[0][: room - 1]}…"
    return first + more
