"""The owner's connection to a stack's supervisor: starts it, sends it commands, and stops the stack by closing the connection."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

from core.errors import ConfigurationError
from devstack.part import Progress, log_path, tail
from devstack.paths import make_folder

SHUTDOWN_SECONDS: Final = 40.0  # longer than stopping takes even if every server has to be killed in the end


class StackError(ConfigurationError):
    """The stack did not start, or a command failed; the message contains the end of the log concerned."""


class SupervisorClient:
    """Owns a supervisor process: writes commands to its standard input and reads events from its standard output."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        folder = make_folder(folder.absolute())
        log = log_path(folder, "supervisor")
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        self._lock = threading.Lock()
        with log.open("ab") as errors:
            # -P: the supervisor must be this checkout's, even if the command runs in another one, which has a devstack too.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "devstack.supervisor", str(folder), *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # this process handles Ctrl-C and a closed terminal, and then stops the supervisor
            )

    def wait_until_up(self, progress: Progress) -> None:
        """Wait until every part works.

        Raises:
            StackError: a part failed to start.
        """
        while True:
            event = self._read()
            match event["event"]:
                case "up":
                    return
                case "failed":
                    raise StackError(event["message"])
                case "ready":
                    progress(f"{event['part']} is ready after {event['seconds']:.1f} s")
                case "migrated":
                    progress(f"migration {event['file']} applied")
                case "waiting":
                    progress(event["message"])

    def send(self, command: dict[str, Any]) -> None:
        """Send a command and wait until it has been carried out.

        Raises:
            StackError: the command failed, or the supervisor is gone.
        """
        with self._lock:
            self._write(command)
            while (event := self._read())["event"] != "reply":
                pass
        if event["error"] is not None:
            raise StackError(event["error"])

    def detach(self) -> None:
        """Leave the stack running without an owner."""
        self._write({"do": "detach"})
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.returncode = 0  # it lives on, so Python need not warn that nobody waits for it

    def close(self) -> None:
        """Stop the stack and wait until all of its processes are gone."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _write(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._gone() from error

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._gone()
        event: dict[str, Any] = json.loads(line)
        return event

    def _gone(self) -> StackError:
        return StackError(f"the stack's supervisor ended unexpectedly.\n{tail(self._log)}")
