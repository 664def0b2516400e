"""PostgreSQL with the roles and helpers that Supabase gives a project's database."""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from core.errors import ConfigurationError
from devstack.config import StackConfig
from devstack.part import Part, PartFailedError, run_once
from devstack.paths import postgres_programs
from devstack.ports import HOST

NAME: Final = "postgres"
SUPERUSER: Final = "supabase_admin"  # as in Supabase, where `postgres` owns the database but is not a superuser

_NOBODY: Final = 65534

_REAPED_SECONDS: Final = 5.0  # init reaps at once, but may not on a busy machine or in a container whose first process is not init

_ROLES: Final = Path(__file__).with_name("supabase_roles.sql")


def postgres_part(config: StackConfig, folder: Path) -> Part:
    """Return the server. Call ``prepare_postgres`` before it starts and ``create_roles`` afterwards."""

    async def check() -> None:
        async with await psycopg.AsyncConnection.connect(_superuser_dsn(config), connect_timeout=60) as connection:
            await connection.execute("select 1")

    settings = {
        "listen_addresses": HOST,
        "port": config.ports[NAME],
        "unix_socket_directories": "",
        "max_connections": 60,
        # Without these, a machine crash loses data, but a killed server does not. Waiting for the disk is not worth that here.
        "fsync": "off",
        "full_page_writes": "off",
    }
    options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    command = _as_unprivileged([str(postgres_programs() / "postgres"), "-D", str(folder / NAME), *options])
    return Part(NAME, command, folder, check, stop_signal=signal.SIGINT)  # SIGINT: ends sessions; SIGTERM would wait for them


async def prepare_postgres(config: StackConfig, folder: Path) -> None:
    """Create the data folder the first time."""
    data = folder / NAME
    if (data / "PG_VERSION").exists():
        await _release_lock(data / "postmaster.pid")
        return
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = data.with_suffix(".password")
    password.touch(mode=0o600)
    password.write_text(config.postgres_password)
    if _is_root():
        os.chown(data, _NOBODY, _NOBODY)
        os.chown(password, _NOBODY, _NOBODY)
    options = ["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--username={SUPERUSER}"]
    program = str(postgres_programs() / "initdb")
    try:
        await run_once(NAME, _as_unprivileged([program, "-D", str(data), f"--pwfile={password}", *options]), folder)
    except PartFailedError as error:
        if not _is_root():
            raise
        reach = "PostgreSQL cannot run as root. It runs as nobody, which cannot enter folders that are closed to others on this machine"
        raise PartFailedError(f"{error}\n{reach}: use another user, or a clone in a folder that everybody may enter.") from error
    finally:
        password.unlink()


async def _release_lock(lock: Path) -> None:
    """Remove the lock of a killed server that has not been reaped yet: PostgreSQL mistakes a zombie for a running server.

    It waits first, for longer than the killed server's child processes need to notice and exit.
    """
    deadline = time.monotonic() + _REAPED_SECONDS
    while lock.exists() and _is_zombie(int(lock.read_text().split()[0])):
        if time.monotonic() > deadline:
            lock.unlink()
            return
        await asyncio.sleep(0.1)


def _is_zombie(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def create_roles(config: StackConfig) -> None:
    """Create Supabase's roles and its ``auth`` helpers in a database that has none yet."""
    async with await psycopg.AsyncConnection.connect(_superuser_dsn(config)) as connection:
        role = await connection.execute("select 1 from pg_roles where rolname = 'authenticator'")
        if await role.fetchone():
            return
        await connection.execute(_ROLES.read_bytes())
        for name, password in (("postgres", config.postgres_password), ("authenticator", config.authenticator_password)):
            await connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(name), sql.Literal(password)))


def _superuser_dsn(config: StackConfig) -> str:
    return config.dsn(SUPERUSER)


def _is_root() -> bool:
    return os.geteuid() == 0


def _as_unprivileged(command: list[str]) -> list[str]:
    """Wrap a command for root: PostgreSQL refuses to run as root, so it runs as ``nobody``.

    It keeps the one capability that it needs to reach its own files inside root's closed home: ``dac_override``. ``access``,
    with which initdb looks for its programs, ignores that capability after a change of user unless ``no_setuid_fixup`` is
    set. setpriv also repeats the request to die with the parent, which the kernel forgets when the user changes.
    """
    if not _is_root():
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ConfigurationError("PostgreSQL cannot run as root, and setpriv (of util-linux) is missing: install it, or use another user")
    rights = ["--securebits=+no_setuid_fixup", "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
    return [setpriv, f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", *rights, "--pdeathsig=KILL", "--", *command]
