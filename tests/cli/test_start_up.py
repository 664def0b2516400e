"""What a process imports at its start: torch takes seconds, and the coordinator's image does not have it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import COMMANDS
from tests.cli.processes import clean_environment, run_extents

CHECKOUT = Path(__file__).parents[2]

LOADS_TORCH = {"crop", "evaluate", "find", "predict"}
"""These commands always predict."""


def loaded(code: str, folder: Path, *arguments: str) -> set[str]:
    """Return the modules that are loaded after this code has run."""
    code = f"import atexit, sys\natexit.register(lambda: print('\\n' + ' '.join(sys.modules)))\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**clean_environment(), "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_the_coordinator_needs_no_torch(tmp_path: Path) -> None:
    """The coordinator's modules can be imported without torch and PyAV."""
    modules = loaded("import streams.apps.coordinator", tmp_path)
    assert "streams.agents.admit" in modules
    assert not modules & {"torch", "av"}


def test_no_command_loads_torch_before_it_needs_it(tmp_path: Path) -> None:
    """Importing any command does not load torch, except for commands that always predict."""
    names = [module for name, (module, _) in COMMANDS.items() if name not in LOADS_TORCH]
    modules = loaded(f"import {', '.join(names)}", tmp_path)
    assert {"cli.film.encoding.encode", "cli.operations.models.models", "cli.service.doctor"} <= modules
    assert "torch" not in modules


def test_the_listing_loads_no_command(tmp_path: Path) -> None:
    """``extents --help`` names every command and imports neither commands nor their libraries."""
    modules = loaded("from cli.main import main; sys.argv = ['extents', '--help']; main()", tmp_path)
    assert not modules & {"torch", "av", "faust", "aioboto3", "supabase", *(module for module, _ in COMMANDS.values())}


def test_a_film_is_encoded_without_torch(film: Path, tmp_path: Path) -> None:
    """Encoding a film never loads torch."""
    arguments = ["encode", str(film), "--crop", "10,200,311,240", "--out", "video"]
    modules = loaded("from cli.main import main; sys.argv[0] = 'extents'; main()", tmp_path, *arguments)
    assert (tmp_path / "video" / "layout.db").exists()
    assert "inference.media.encode" in modules
    assert "torch" not in modules


@pytest.fixture(scope="module")
def helps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """Each command's status, output and errors with ``--help``, from one process without settings."""
    code = (
        "import json\nfrom click.testing import CliRunner\nfrom cli.main import COMMANDS, cli\n"
        "done = {name: CliRunner().invoke(cli, [name, '--help'], prog_name='extents') for name in COMMANDS}\n"
        "print(json.dumps({name: (one.exit_code, one.stdout, one.stderr) for name, one in done.items()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path_factory.mktemp("helps"),
        env={**clean_environment(), "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    helps: dict[str, tuple[int, str, str]] = json.loads(done.stdout)
    return helps


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_how_it_is_used(name: str, helps: dict[str, tuple[int, str, str]]) -> None:
    """Every command's help needs no settings and shows an example."""
    status, output, errors = helps[name]
    assert (status, errors) == (0, "")
    assert re.search(rf"^ +extents {name}\b", output, re.MULTILINE)


def test_help_of_a_process_is_that_of_the_command(tmp_path: Path, helps: dict[str, tuple[int, str, str]]) -> None:
    """A separate process prints the same help."""
    done = run_extents("show", "--help", folder=tmp_path)
    assert [done.returncode, done.stdout.replace("python -m cli", "extents"), done.stderr] == list(helps["show"])


def test_a_film_needs_nothing_of_the_service(tmp_path: Path) -> None:
    """The commands for one film load no client of a broker, a store or a database."""
    modules = loaded("import cli.film.finding.find, cli.film.runs.predict, cli.film.runs.show", tmp_path)
    assert not {name.partition(".")[0] for name in modules} & {
        "aioboto3",
        "aiohttp",
        "aiokafka",
        "botocore",
        "faust",
        "supabase",
        "devstack",
    }


def test_a_small_installation_says_how_to_get_the_rest(tmp_path: Path) -> None:
    """A service command names the missing package and the command that installs everything, without a stack trace."""
    code = "import sys\nsys.modules['aiokafka'] = None\nsys.argv = ['extents', 'submit', '--help']\nfrom cli.main import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**clean_environment(), "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: aiokafka is not installed, and this needs it")
    assert "run make setup" in done.stderr
