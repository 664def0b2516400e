"""Runs a Prometheus that scrapes a test's workers each second, and queries it."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from devstack.part import die_with_parent
from devstack.ports import choose_ports
from tests.debian import program
from tests.patience import Deadline
from tools.dashboards.prometheus import render_alerts, render_rules

WINDOW = "1m"
"""Stands in for ``$__rate_interval``: long enough for a busy machine that misses scrapes."""

_STARTS_WITHIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str
    http: aiohttp.ClientSession

    async def until_ready(self) -> None:
        """Wait until it answers queries: at first it refuses connections, then it answers 503 while it opens its storage."""
        deadline = Deadline(_STARTS_WITHIN_SECONDS)
        while not deadline.passed:
            with suppress(aiohttp.ClientConnectionError):
                async with self.http.get(f"{self.url}/-/ready") as answer:
                    if answer.ok:
                        return
            await asyncio.sleep(0.2)
        raise TimeoutError(f"{self.url} is not ready")

    async def ask(self, expr: str) -> list[dict[str, Any]]:
        """Return the current series of an expression, with the dashboards' variables filled in."""
        async with self.http.get(f"{self.url}/api/v1/query", params={"query": filled(expr)}) as answer:
            body = await answer.json()
        assert body["status"] == "success", f"{expr}: {body}"
        result: list[dict[str, Any]] = body["data"]["result"]
        return result

    async def over_time(self, expr: str, seconds: int) -> list[dict[str, Any]]:
        """Return the series of the last seconds, with a value each second."""
        async with self.http.get(f"{self.url}/api/v1/query", params={"query": "time()"}) as answer:
            end = float((await answer.json())["data"]["result"][1])
        params = {"query": filled(expr), "start": str(end - seconds), "end": str(end), "step": "1"}
        async with self.http.get(f"{self.url}/api/v1/query_range", params=params) as answer:
            body = await answer.json()
        result: list[dict[str, Any]] = body["data"]["result"]
        return result


def filled(expr: str) -> str:
    expr = expr.replace("$__rate_interval", WINDOW)
    for name in ("priority", "model", "worker"):
        expr = expr.replace(f"${name}", ".*")
    return expr


@asynccontextmanager
async def prometheus(folder: Path, targets: Mapping[str, str]) -> AsyncIterator[Prometheus]:
    """Scrape each job's address and evaluate all rules each second."""
    rules = yaml.safe_load(render_rules())
    rules["groups"][0]["interval"] = "1s"
    (folder / "recording.yml").write_text(yaml.safe_dump(rules))
    (folder / "alerts.yml").write_text(render_alerts())
    jobs = [{"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["recording.yml", "alerts.yml"],
        "scrape_configs": jobs,
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = choose_ports(["prometheus"], {})["prometheus"]
    command = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)  # noqa: ASYNC220 - it starts at once
    try:
        async with aiohttp.ClientSession() as http:
            running = Prometheus(f"http://127.0.0.1:{port}", http)
            await running.until_ready()
            yield running
    finally:
        process.terminate()
        process.wait(30)
