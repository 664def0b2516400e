"""Runs what docker-compose.yml starts, from the same files and variables but without containers."""

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.settings import SupabaseSettings
from core.types import Priority
from devstack.config import prepare_config
from devstack.part import Part
from devstack.paths import postgres_programs, postgrest
from devstack.ports import HOST, choose_ports
from devstack.postgres import postgres_part, prepare_postgres
from storage.connect import open_rows
from streams.runtime.health import Health, HealthServer
from tests.patience import HANGS_AFTER

PORTS = ("postgrest", "gateway", "healthz")


@pytest.fixture
def ports() -> dict[str, int]:
    return choose_ports(list(PORTS), {})


async def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    path = f"{postgres_programs()}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    whole = {**os.environ, **environment, "PATH": path}
    return await asyncio.to_thread(subprocess.run, command, env=whole, capture_output=True, text=True, check=False, timeout=HANGS_AFTER)


def health_command(service: dict[str, Any], old: str, new: str) -> list[str]:
    kind, *command = service["healthcheck"]["test"]
    assert kind == "CMD"
    assert sum(old in part for part in command) == 1
    return [part.replace(old, new) for part in command]


async def listening(port: int) -> None:
    _, writer = await asyncio.open_connection(HOST, port)
    writer.close()


async def test_database_and_rest_interface_serve_the_service(compose, root, tmp_path, ports, monkeypatch):
    """Roles, migrations (applied twice), PostgREST and the gateway, as composed, serve the service's own client."""
    services = compose["services"]
    password = services["database"]["environment"]["POSTGRES_PASSWORD"]
    config = replace(prepare_config(tmp_path, brokers=1, usual_ports=False), postgres_password=password)
    await prepare_postgres(config, tmp_path)
    database = postgres_part(config, tmp_path)
    parts = [database]
    try:
        await database.start()
        where = {"PGHOST": HOST, "PGPORT": str(config.ports["postgres"])}
        superuser = services["database"]["environment"]
        login = {"PGUSER": superuser["POSTGRES_USER"], "PGDATABASE": superuser["POSTGRES_DB"], "PGPASSWORD": password}
        scripts = [volume.split(":") for volume in services["database"]["volumes"] if "/docker-entrypoint-initdb.d/" in volume]
        for script, *_ in sorted(scripts, key=lambda volume: volume[1]):  # as the image runs them
            command = ["psql", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--file", str(root / script)]
            done = await run(command, {**superuser, **login, **where})
            assert done.returncode == 0, done.stderr
        for _ in range(2):
            command = ["sh", str(root / "deploy/compose/migrate.sh"), str(root / "deploy/supabase/migrations")]
            done = await run(command, {**services["migrations"]["environment"], **where})
            assert done.returncode == 0, done.stderr
            assert done.stdout.count("applying") == len(list((root / "deploy/supabase/migrations").glob("*.sql")))

        environment = dict(services["postgrest"]["environment"])
        environment["PGRST_DB_URI"] = environment["PGRST_DB_URI"].replace("@database:5432/", f"@{HOST}:{config.ports['postgres']}/")
        environment["PGRST_SERVER_PORT"] = str(ports["postgrest"])
        parts.append(Part("postgrest", [str(postgrest())], tmp_path, lambda: listening(ports["postgrest"]), environment))
        gateway = dict(services["gateway"]["environment"])
        gateway |= {"GATEWAY_PORT": str(ports["gateway"]), "GATEWAY_UPSTREAM": f"http://{HOST}:{ports['postgrest']}"}
        command = [sys.executable, *services["gateway"]["entrypoint"][1:]]
        parts.append(Part("gateway", command, tmp_path, lambda: listening(ports["gateway"]), gateway))
        for part in parts[1:]:
            await part.start()

        check = health_command(services["gateway"], "127.0.0.1:8000", f"127.0.0.1:{ports['gateway']}")
        healthy = await run(check, gateway)
        assert healthy.returncode == 0, healthy.stderr
        assert (await run(check, {**gateway, "GATEWAY_KEYS": "another"})).returncode != 0

        for name in ("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SCHEMA"):
            monkeypatch.setenv(name, services["coordinator"]["environment"][name])
        monkeypatch.setenv("SUPABASE_URL", f"http://{HOST}:{ports['gateway']}")
        async with open_rows(SupabaseSettings()) as rows:
            await rows.check()
            assert await rows.count_unfinished(Priority.HIGH) == 0
    finally:
        for part in reversed(parts):
            await part.stop()


async def test_health_checks_follow_healthz(compose, ports):
    """A worker's health check succeeds while the worker is healthy, and fails if a step exceeds its limit."""
    health = Health()
    command = health_command(compose["services"]["worker"], "127.0.0.1:9464", f"127.0.0.1:{ports['healthz']}")
    assert (await run(command, {})).returncode != 0
    async with HealthServer(health, HOST, ports["healthz"]):
        assert (await run(command, {})).returncode == 0
        health.add_wait("database", lambda: "away")
        assert (await run(command, {})).returncode == 0
        with health.step("fetch", 0.0, "a chunk"):
            assert (await run(command, {})).returncode != 0
