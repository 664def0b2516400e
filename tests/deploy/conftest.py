"""The files of the deployment, each read once."""

from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cli.main import cli

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """docker-compose.yml with its anchors and merges resolved."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


@pytest.fixture(scope="session")
def parses():
    """Return a function that checks arguments of ``extents``, and fails with click's own message if they are wrong."""

    def parse(arguments: list[str]) -> None:
        command: click.Command = cli
        context = click.Context(cli, info_name="extents")
        rest = list(arguments)
        while isinstance(command, click.Group):
            assert rest, f"{command.name} needs a command"
            name = rest.pop(0)
            subcommand = command.get_command(context, name)
            assert subcommand is not None, f"extents has no command {name}"
            command, context = subcommand, click.Context(subcommand, info_name=name, parent=context)
        command.make_context(command.name, rest, parent=context)

    return parse
