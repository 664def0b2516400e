"""The process that runs a stack's servers: ``python -m devstack.supervisor FOLDER``.

It reads commands from standard input and writes events to standard output, one JSON object per line. When standard
input closes, for whatever reason, it stops the servers and exits; after a ``detach`` command only a signal stops it.
The servers die with the supervisor, even when it is killed with SIGKILL.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from core.errors import ConfigurationError
from devstack.config import LOCK_FILE, STATE_FILE, StackConfig, prepare_config
from devstack.gateway import gateway_part
from devstack.kafka import broker_part, prepare_broker
from devstack.migrations import apply_migrations
from devstack.part import PartFailedError, log_path
from devstack.postgres import create_roles, postgres_part, prepare_postgres
from devstack.postgrest import postgrest_part
from devstack.seaweed import create_bucket, remove_sockets, seaweed_part


class Supervisor:
    """Starts the parts concurrently and carries out commands until a signal arrives or the owner is gone."""

    def __init__(self, config: StackConfig, folder: Path, *, throwaway: bool) -> None:
        self._config = config
        self._folder = folder
        self._throwaway = throwaway
        self._detached = False
        self._keep_logs = False
        parts = [broker_part(config, folder, node) for node in range(1, config.brokers + 1)]
        parts += [seaweed_part(config, folder), postgres_part(config, folder), postgrest_part(config, folder), gateway_part(config, folder)]
        self._parts = {part.name: part for part in parts}

    async def run(self) -> int:
        self._end = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._end.set)
        commands = asyncio.create_task(self._handle_commands())
        starting = asyncio.create_task(self._start_all())
        ending = asyncio.create_task(self._end.wait())
        try:
            await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                return 0
            failure = starting.exception()
            if failure is not None:
                self._keep_logs = True
                _send(event="failed", message=_message(failure))
                return 1
            self._write_state()
            _send(event="up")
            await ending
            return 0
        finally:
            await _cancel(starting, commands, ending)
            await self._shut_down()

    async def _start_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for node in range(1, self._config.brokers + 1):
                group.create_task(self._start_broker(node))
            group.create_task(self._start("s3"))
            group.create_task(self._start_database())
            group.create_task(self._start("rest"))

    async def _start_broker(self, node: int) -> None:
        await prepare_broker(self._config, self._folder, node)
        await self._start(f"kafka-{node}")

    async def _start_database(self) -> None:
        await prepare_postgres(self._config, self._folder)
        await self._start("postgres")
        await create_roles(self._config)
        for name in await apply_migrations(self._config.dsn(), self._config.schema):
            _send(event="migrated", file=name)
        await self._start("postgrest")

    async def _start(self, name: str) -> None:
        seconds = await self._parts[name].start(lambda message: _send(event="waiting", message=message))
        _send(event="ready", part=name, seconds=seconds)

    async def _handle_commands(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command = json.loads(line)
            if command["do"] == "detach":
                self._detach()
                return
            try:
                await self._carry_out(command)
            except Exception as error:
                _send(event="reply", error=_message(error))
            else:
                _send(event="reply", error=None)
        self._end.set()  # the pipe is closed: the owner is gone or has closed it on purpose

    async def _carry_out(self, command: dict[str, Any]) -> None:
        if command["do"] == "bucket":
            await create_bucket(self._config, command["name"])
            return
        if command["do"] == "keep-logs":
            self._keep_logs = True
            return
        part = self._parts[command["part"]]
        match command["do"]:
            case "start":
                await part.start()
                self._write_state()
            case "stop":
                await part.stop()
            case "kill":
                await part.kill()
            case "signal":
                part.signal(command["number"])
            case unknown:
                raise ValueError(f"unknown command {unknown!r}")

    def _detach(self) -> None:
        """Release the terminal that started the stack: nothing is read or written from here on."""
        self._detached = True
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, sys.stdout.fileno())

    def _write_state(self) -> None:
        state = {
            "started": int(time.time()),
            "processes": {name: part.process.pid for name, part in self._parts.items() if part.process is not None},
        }
        temporary = self._folder / (STATE_FILE + ".new")
        temporary.write_text(json.dumps(state))
        temporary.replace(self._folder / STATE_FILE)

    async def _shut_down(self) -> None:
        """Stop clients before their servers, and all brokers together, since none can hand over to one that is gone."""
        if self._throwaway:
            await asyncio.gather(*(part.kill() for part in self._parts.values()))
            self._delete_data()
        else:
            for names in (["rest", "postgrest"], [*self._config.broker_names, "s3", "postgres"]):
                await asyncio.gather(*(self._parts[name].stop() for name in names))
        remove_sockets(self._config)
        (self._folder / STATE_FILE).unlink(missing_ok=True)

    def _delete_data(self) -> None:
        """Delete the folder, except the logs if they are to be kept."""
        if not self._keep_logs:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        for path in self._folder.iterdir():
            if path == log_path(self._folder, "").parent:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


async def _cancel(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _send(**event: object) -> None:
    with contextlib.suppress(BrokenPipeError):  # the owner is gone; closed standard input reports that too
        print(json.dumps(event), flush=True)


def _message(failure: BaseException) -> str:
    """Return the error's message; for a group the first one's, because its siblings were only cancelled due to it."""
    if isinstance(failure, BaseExceptionGroup):
        return _message(failure.exceptions[0])
    if isinstance(failure, PartFailedError | ConfigurationError):
        return str(failure)
    return f"{type(failure).__name__}: {failure}"


def _take_lock(folder: Path) -> bool:
    """Try to become the folder's only supervisor; returns whether it did. The lock then holds its process id.

    The lock's descriptor is never closed: it is released when the process ends.
    """
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(20):  # a status query holds the lock for an instant
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.write(lock, str(os.getpid()).encode())
            return True
        time.sleep(0.05)
    return False


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--brokers", type=int)
    arguments.add_argument("--usual-ports", action="store_true")
    arguments.add_argument("--proxied", action="store_true")
    arguments.add_argument("--throwaway", action="store_true")
    options = arguments.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs every broker that is not up yet
    if not _take_lock(options.folder):
        _send(event="failed", message=f"a stack is already running in {options.folder}; see: extents dev status")
        return 1
    (options.folder / STATE_FILE).unlink(missing_ok=True)
    try:
        config = prepare_config(options.folder, brokers=options.brokers, usual_ports=options.usual_ports, proxied=options.proxied)
        supervisor = Supervisor(config, options.folder, throwaway=options.throwaway)
    except ConfigurationError as error:
        _send(event="failed", message=str(error))
        return 1
    return asyncio.run(supervisor.run())


if __name__ == "__main__":
    sys.exit(main())
