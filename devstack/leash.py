"""The owner's end of a stack: starts the supervisor, hears from it, gives it orders, and ends it by letting go."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from core.errors import ConfigurationError
from devstack.part import log_path, tail

DOWN_SECONDS: Final = 40.0  # longer than stopping takes when every server has to be killed in the end

Progress = Callable[[str], None]


class StackError(ConfigurationError):
    """The stack did not start, or an order could not be carried out; the message holds the end of the log concerned."""


class Leash:
    """This end of the pipes to a supervisor: orders go out, news come back."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        log = log_path(folder, "supervisor")
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        self._lock = threading.Lock()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "devstack.supervisor", str(folder), *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # a Ctrl-C or a closed terminal is for this process; it tells the supervisor
            )

    def wait_up(self, progress: Progress) -> None:
        while True:
            news = self._read()
            match news["event"]:
                case "up":
                    return
                case "failed":
                    raise StackError(news["message"])
                case "ready":
                    progress(f"{news['part']} is ready after {news['seconds']:.1f} s")
                case "migrated":
                    progress(f"migration {news['file']} applied")

    def order(self, order: dict[str, Any]) -> None:
        with self._lock:
            self._write(order)
            while (news := self._read())["event"] != "answer":
                pass
        if news["error"] is not None:
            raise StackError(news["error"])

    def detach(self) -> None:
        self._write({"do": "detach"})
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.returncode = 0  # it lives on, and Python need not warn that nobody waits for it

    def let_go(self) -> None:
        """End the stack and wait until nothing of it is left."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(DOWN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _write(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._gone() from error

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._gone()
        news: dict[str, Any] = json.loads(line)
        return news

    def _gone(self) -> StackError:
        return StackError(f"the stack's supervisor ended unexpectedly.\n{tail(self._log)}")
