"""Servers of a stack never outlive their owner or supervisor, and stored data is kept until a purge."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from core.errors import ConfigurationError
from devstack import stack as devstack
from devstack.part import STALLED_SECONDS
from devstack.ports import HOST
from devstack.supervisor_client import StackError
from tests.patience import Deadline
from tests.signals import heed_signals

OWNER = """
import sys
from pathlib import Path
from devstack.stack import owned
with owned(Path(sys.argv[1]), progress=lambda line: print(line, flush=True)):
    print("up", flush=True)
    sys.stdin.read()
"""


def _processes(folder: Path) -> list[psutil.Process]:
    """List every process that works in a stack's folder: servers, their children and the supervisor."""
    processes = []
    for process in psutil.process_iter():
        try:
            if str(folder) in process.cwd() or str(folder) in process.cmdline():
                processes.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            pass
    return processes


def _wait_until_gone(folder: Path, but: int = -1) -> None:
    deadline = Deadline(60)
    while left := [process for process in _processes(folder) if process.pid != but]:
        assert not deadline.passed, f"still running: {left}"
        time.sleep(0.1)


def _own_stack(folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", OWNER, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=heed_signals)


def _wait_for_line(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return
    pytest.fail(f"the owner ended before it said {word!r}")


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGKILL, "up"),
        (signal.SIGHUP, "ready"),  # a terminal is closed while the first part is up and others are not
        (signal.SIGINT, "ready"),
    ],
)
def test_a_stack_ends_with_its_owner(tmp_path, number, moment):
    """All servers of a stack stop when its owner process ends, however that ends."""
    with _own_stack(tmp_path) as owner:
        _wait_for_line(owner, moment)
        assert len(_processes(tmp_path)) > 3
        owner.send_signal(number)
        owner.wait(60)
    _wait_until_gone(tmp_path)


def test_data_survives_a_killed_supervisor(tmp_path):
    """Servers stop with their supervisor; the next start finds the data, and uses another port if the old one is taken."""
    folder = tmp_path / "s"
    first = devstack.up(folder)
    try:
        with psycopg.connect(first.dsn) as connection:
            connection.execute("create table kept as select 7 as value")
        supervisor = next(process for process in _processes(folder) if "devstack.supervisor" in process.cmdline())
        supervisor.kill()
        supervisor.wait(10)
        _wait_until_gone(folder)
        assert all(part.pid is None for part in first.status())

        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((HOST, first.config.ports["postgres"]))
            taken.listen()
            second = devstack.up(folder)
            assert second.config.ports["postgres"] != first.config.ports["postgres"]
            assert second.env["SUPABASE_SERVICE_ROLE_KEY"] == first.env["SUPABASE_SERVICE_ROLE_KEY"]
            assert all(part.pid for part in second.status())
            with psycopg.connect(second.dsn) as connection:
                assert connection.execute("select value from kept").fetchone() == (7,)
            assert devstack.up(folder).env == second.env  # running already: found, not started again
            with pytest.raises(ConfigurationError, match="1 broker"):
                devstack.up(folder, brokers=3)
            assert devstack.down(folder)
        _wait_until_gone(folder)
        assert (folder / "postgres").exists()
    finally:
        devstack.down(folder, purge=True)
    assert not folder.exists()


def test_a_part_that_does_not_start_is_named_with_its_log(tmp_path):
    """The error names the part that failed and shows the end of its log, and no process is left."""
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("1\n")
    with (
        pytest.raises(StackError, match=r"(?s)postgres ended with status.*logs/postgres\.log.*\n  .*postgres"),
        devstack.owned(tmp_path),
    ):
        pass
    _wait_until_gone(tmp_path)


def test_a_part_that_cannot_be_prepared_is_named_at_once(tmp_path):
    """If preparing a part fails, the start fails without waiting for the others, and the error shows the output."""
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "in the way").touch()
    began = time.monotonic()
    with pytest.raises(StackError, match=r"(?s)preparing postgres: .* exists but is not empty"), devstack.owned(tmp_path):
        pass
    assert time.monotonic() - began < STALLED_SECONDS
    _wait_until_gone(tmp_path)


def test_a_throwaway_stack_leaves_no_folder(tmp_path):
    """A throwaway stack of three brokers restarts one that was killed, and leaves neither a process nor a folder."""
    folder = tmp_path / "s"
    with devstack.owned(folder, brokers=3, throwaway=True) as running:
        assert len(running.env["KAFKA_BOOTSTRAP_SERVERS"].split(",")) == 3
        running.broker(2).kill()
        assert [part.name for part in running.status() if part.pid is None] == ["kafka-2"]
        running.broker(2).start()
        assert all(part.pid for part in running.status())
    assert not folder.exists()
    _wait_until_gone(folder)


def test_a_throwaway_stack_that_does_not_start_keeps_its_logs(tmp_path):
    """A throwaway stack that fails to start deletes its data, and keeps the log that the error names."""
    folder = tmp_path / "s"
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres" / "PG_VERSION").write_text("1\n")
    with pytest.raises(StackError, match="postgres ended with status"), devstack.owned(folder, throwaway=True):
        pass
    assert [path.name for path in folder.iterdir()] == ["logs"]
    assert (folder / "logs" / "postgres.log").read_text()


def test_a_throwaway_stack_keeps_its_logs_after_an_error(tmp_path):
    """After an error in the block the data is deleted, the logs are kept, and the message says where they are."""
    folder, messages = tmp_path / "s", []
    with pytest.raises(ValueError, match="something failed"), devstack.owned(folder, throwaway=True, progress=messages.append):
        raise ValueError("something failed")
    assert messages[-1] == f"the logs are kept in {folder / 'logs'}"
    assert [path.name for path in folder.iterdir()] == ["logs"]
    assert (folder / "logs" / "kafka-1.log").read_text()
