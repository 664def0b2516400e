"""The public interface of the embedded stack: start one, find its addresses, stop it.

``owned`` is for a command that needs its own stack: the stack stops when the command ends, however it ends.
``up``, ``down`` and ``status`` are for a stack that keeps running until it is stopped.
"""

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import ConfigurationError
from devstack.config import LOCK_FILE, STATE_FILE, StackConfig, load_config
from devstack.part import Progress, log_path
from devstack.ports import HOST
from devstack.supervisor_client import SHUTDOWN_SECONDS, StackError, SupervisorClient

ENV_FILE: Final = "env"


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One server of a stack; ``pid`` is None if its process is gone."""

    name: str
    address: str
    pid: int | None
    log: Path


class Stack:
    """A stack that is or was running: its addresses and keys. Thread-safe."""

    def __init__(self, folder: Path, config: StackConfig) -> None:
        self.folder = folder
        self.config = config

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that point the service at this stack."""
        return self.config.environment()

    @property
    def dsn(self) -> str:
        """The database's URL for its owner, for checks that bypass the REST interface."""
        return self.config.dsn()

    def addresses(self) -> dict[str, str]:
        """Each part's address, by name."""
        kafka = {name: f"{HOST}:{self.config.ports[name]}" for name in self.config.broker_names}
        postgrest = f"http://{HOST}:{self.config.ports['postgrest']}"
        return {**kafka, "s3": self.config.s3_url, "postgres": self.dsn, "postgrest": postgrest, "rest": f"{self.config.rest_url}/rest/v1"}

    def status(self) -> list[PartStatus]:
        pids = _read_state(self.folder).get("processes", {}) if is_running(self.folder) else {}
        return [
            PartStatus(name, address, pid if (pid := pids.get(name)) and _alive(pid) else None, log_path(self.folder, name))
            for name, address in self.addresses().items()
        ]


class OwnedStack(Stack):
    """A stack that does not outlive this process, and whose parts can be made to fail."""

    def __init__(self, folder: Path, config: StackConfig, supervisor: SupervisorClient) -> None:
        super().__init__(folder, config)
        self._supervisor = supervisor

    def keep_logs(self) -> Path:
        """Have a throwaway stack leave its logs behind when it stops. Returns their folder."""
        self._supervisor.send({"do": "keep-logs"})
        return log_path(self.folder, "").parent

    def create_bucket(self, name: str) -> None:
        """Create a bucket that the service may use: the name begins with that of its own bucket."""
        if not name.startswith(self.config.bucket):
            raise ValueError(f"bucket {name!r}: the service may only use those whose names begin with {self.config.bucket!r}")
        self._supervisor.send({"do": "bucket", "name": name})

    def part(self, name: str) -> "PartControl":
        """Return the control of ``kafka-1`` …, ``s3``, ``postgres``, ``postgrest`` or ``rest``."""
        if name not in self.addresses():
            raise ValueError(f"no part {name!r}; there are {', '.join(self.addresses())}")
        return PartControl(self._supervisor, name)

    def broker(self, node: int) -> "PartControl":
        """Return the control of broker ``node``, counted from 1."""
        return self.part(f"kafka-{node}")


@dataclass(frozen=True, slots=True)
class PartControl:
    """Makes one part fail and recover. Every call blocks until that is done, so use a thread in a coroutine."""

    _supervisor: SupervisorClient
    name: str

    def kill(self) -> None:
        """Send SIGKILL."""
        self._supervisor.send({"do": "kill", "part": self.name})

    def stop(self) -> None:
        """Shut it down cleanly."""
        self._supervisor.send({"do": "stop", "part": self.name})

    def start(self) -> None:
        """Start it again at the same address with its data, and wait until it works."""
        self._supervisor.send({"do": "start", "part": self.name})

    def freeze(self) -> None:
        """Send SIGSTOP: the part keeps its connections and stops responding."""
        self._supervisor.send({"do": "signal", "part": self.name, "number": int(signal.SIGSTOP)})

    def thaw(self) -> None:
        self._supervisor.send({"do": "signal", "part": self.name, "number": int(signal.SIGCONT)})


@contextlib.contextmanager
def owned(
    folder: Path, *, brokers: int = 1, proxied: bool = False, throwaway: bool = False, progress: Progress | None = None
) -> Iterator[OwnedStack]:
    """Run a stack for the duration of this block. It never outlives this process, even one that is killed.

    Args:
        folder: contains its data and logs; an existing stack is started again.
        proxied: give each broker a second address, for a proxy that the caller provides (``config.proxies``).
        throwaway: delete the folder at the end, which also makes stopping quicker. After an error the logs are kept.

    Raises:
        StackError: a part did not start, or a stack is running in the folder already.
    """
    options = [f"--brokers={brokers}", *(name for name, wanted in (("--proxied", proxied), ("--throwaway", throwaway)) if wanted)]
    supervisor = _launch(folder, options, progress)
    stack = OwnedStack(folder, find(folder).config, supervisor)
    try:
        yield stack
    except Exception:  # an interrupt is not a failure, and leaves nothing behind
        if throwaway:
            with contextlib.suppress(StackError):
                logs = stack.keep_logs()
                (progress or (lambda _: None))(f"the logs are kept in {logs}")
        raise
    finally:
        supervisor.close()


def up(folder: Path, *, brokers: int | None = None, progress: Progress | None = None) -> Stack:
    """Start a stack that keeps running, or find it running already. Either way its environment file is written.

    Raises:
        StackError: a part did not start.
        ConfigurationError: the folder holds a stack of another size.
    """
    _wait_while_starting(folder)
    if is_running(folder):
        stack = find(folder)
        if brokers not in (None, stack.config.brokers):
            raise ConfigurationError(
                f"the stack in {folder} is running with {stack.config.brokers} broker(s); "
                f"stop it first: extents dev down --name {folder.name}"
            )
        return stack
    supervisor = _launch(folder, ["--usual-ports", *([f"--brokers={brokers}"] if brokers else [])], progress)
    supervisor.detach()
    return find(folder)


def down(folder: Path, *, purge: bool = False) -> bool:
    """Stop the stack of this folder, and with ``purge`` delete its data and logs. Returns whether it was running."""
    running = is_running(folder)
    if running:
        pid = int((folder / LOCK_FILE).read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        while is_running(folder):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)  # its servers die with it
            time.sleep(0.05)
    if purge:
        shutil.rmtree(folder, ignore_errors=True)
    return running


def find(folder: Path) -> Stack:
    """Return the stack of this folder, running or not.

    Raises:
        ConfigurationError: there is none.
    """
    config = load_config(folder)
    if config is None:
        raise ConfigurationError(f"there is no stack in {folder}; start one: extents dev up --name {folder.name}")
    return Stack(folder, config)


def is_starting(folder: Path) -> bool:
    """Whether a supervisor is running, but not all parts work yet."""
    return is_running(folder) and not (folder / STATE_FILE).exists()


def is_running(folder: Path) -> bool:
    """Whether a supervisor holds the folder's lock."""
    try:
        with (folder / LOCK_FILE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def environment_script(variables: Mapping[str, str]) -> str:
    """Return the variables as a shell script, which also works as a ``.env`` file."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _launch(folder: Path, options: list[str], progress: Progress | None) -> SupervisorClient:
    """Start a supervisor and wait until its servers work. An error or an interrupt stops them again."""
    supervisor = SupervisorClient(folder, options)
    try:
        supervisor.wait_until_up(progress or (lambda _: None))
        environment = folder / ENV_FILE
        environment.touch(mode=0o600)
        environment.write_text(environment_script(find(folder).env))
    except BaseException:
        supervisor.close()
        raise
    return supervisor


def _wait_while_starting(folder: Path) -> None:
    """Wait until another process has started the stack, or has failed to."""
    while is_starting(folder):
        time.sleep(0.1)


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((folder / STATE_FILE).read_text())
    except FileNotFoundError:
        return {}
    return state


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
