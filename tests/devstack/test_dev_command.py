"""``extents dev`` as a user runs it."""

import json
import subprocess
import sysconfig
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.developing.dev import command
from core.errors import ConfigurationError
from devstack import paths

EXTENTS = Path(sysconfig.get_path("scripts")) / "extents"


@pytest.fixture
def stacks(tmp_path, monkeypatch):
    """The folder in which named stacks are looked up."""
    monkeypatch.setattr(paths, "STACKS", tmp_path)
    return tmp_path


def _run(*arguments: str) -> str:
    return CliRunner().invoke(command, arguments, catch_exceptions=False).output


def _name(stack, stacks: Path) -> str:
    """Give the shared stack a name."""
    (stacks / "shared").symlink_to(stack.folder)
    return "shared"


def test_status_and_env_tell_how_to_reach_a_stack(stack, stacks):
    """Status gives each part's address and process, as a table and as JSON; env prints the variables that the service reads."""
    name = _name(stack, stacks)
    output = json.loads(_run("status", "--name", name, "--json"))
    assert output["env"] == stack.env == json.loads(_run("env", "--name", name, "--json"))
    assert {part["name"]: part["address"] for part in output["parts"]} == stack.addresses()
    assert all(part["pid"] for part in output["parts"])
    table = _run("status", "--name", name)
    for address in stack.addresses().values():
        assert address in table


def test_the_environment_can_be_sourced(stack, stacks):
    """A shell that evaluates the output of ``env`` exports each variable as it is."""
    script = _run("env", "--name", _name(stack, stacks)) + "\nenv -0"
    shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    exported = dict(line.split("=", 1) for line in shell.stdout.split("\0") if "=" in line)
    assert stack.env.items() <= exported.items()


def test_logs_of_one_part(stack, stacks, capfd):
    """The requested part's log is printed; an unknown part is rejected with the names of all parts."""
    name = _name(stack, stacks)
    _run("logs", "kafka-1", "--name", name, "-n", "1000000")  # the stack is shared, and its log grows with every test
    assert "Kafka Server started" in capfd.readouterr().out
    with pytest.raises(ConfigurationError, match="no part 'kafka'; there are kafka-1"):
        _run("logs", "kafka", "--name", name)


@pytest.mark.parametrize("name", ["dist", "../x", "a/b", ""])
def test_a_name_that_would_leave_its_folder_is_refused(name, stacks):
    """A stack's name must be a plain word, because ``down --purge`` deletes the folder of that name."""
    with pytest.raises(ConfigurationError, match="cannot be called"):
        _run("down", "--purge", "--name", name)


def test_what_is_not_there_is_an_error_with_a_way_out():
    """Status of a missing stack ends with status 1 and says in one line what is wrong and what to do, without a traceback."""
    done = subprocess.run([EXTENTS, "dev", "status", "--name", "never-made"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no stack in ")
    assert done.stderr.endswith("extents dev up --name never-made\n")


def test_help_shows_examples():
    """Every subcommand's help has an example."""
    for name in ("up", "down", "status", "logs", "env"):
        assert f"extents dev {name}" in _run(name, "--help")
