"""Measures what being watched costs a coordinator: scrapes of its metrics, and viewers of the live page while runs make progress."""

import asyncio
import os
import secrets
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import psycopg

from benchmarks.installation import throwaway_stack
from benchmarks.results import Result, Value
from core.settings import Settings
from devstack.ports import HOST
from devstack.stack import OwnedStack
from devstack.workers import worker
from storage.database import TABLE_PREFIX
from streams.apps.live_page import ROOT

RUNS: Final = 1_000
RUNNING: Final = 60
VIEWERS: Final = 5
ROUNDS: Final = 3
WINDOW_SECONDS: Final = 40.0
PROGRESS_SECONDS: Final = 5.0
"""The interval at which the coordinator writes progress."""

SCRAPES: Final = 100

_FILL: Final = """
insert into {prefix}jobs (
    run_id, tenant_id, video_id, cropped_frames_version, model_version, status, priority, pairs_total, pairs_done, gpu_seconds,
    created_at, started_at, completed_at, updated_at
)
select gen_random_uuid()::text, gen_random_uuid(), gen_random_uuid(), 1, 'builtin-0123abcd',
    case when number < {running} then 'running' when number < 2 * {running} then 'queued' else 'completed' end,
    case when number % 3 = 0 then 'low' else 'high' end, 6000,
    case when number < {running} then 100 when number < 2 * {running} then 0 else 6000 end,
    11, now() - interval '1 hour' * number / {runs}, now() - interval '1 hour' * number / {runs} + interval '2 s',
    case when number >= 2 * {running} then now() - interval '1 hour' * number / {runs} + interval '30 s' end,
    now() - interval '1 hour' * number / {runs} + interval '30 s'
from generate_series(0, {runs} - 1) as number
"""

_PROGRESS: Final = (
    "update {prefix}jobs set pairs_done = least(pairs_done + 50, pairs_total - 1), updated_at = now() where status = 'running'"
)


def measure_watching() -> Result:
    """Measure the milliseconds of a scrape, and the share of a core that the page takes with five viewers."""
    with throwaway_stack() as stack:
        scrapes, scrape_cpu, shares = asyncio.run(_measure(stack))
    names = ("nobody", f"{VIEWERS} viewers")
    rows: list[list[Value]] = [
        ["a scrape of /metrics, processor time", "ms", scrape_cpu],
        ["a scrape of /metrics, until it is read: median", "ms", statistics.median(scrapes)],
        ["a scrape of /metrics, until it is read: fastest of a hundred", "ms", min(scrapes)],
        *([f"the coordinator with {name}", "% of a core", 100 * statistics.median(shares[name])] for name in names),
    ]
    added = [100 * (some - none) for none, some in zip(shares["nobody"], shares[names[1]], strict=True)]
    rows.append([f"what {VIEWERS} viewers add", "% of a core", statistics.median(added)])
    notes = [
        f"{RUNS:,} runs of the last hour, {RUNNING} of them running with progress every {PROGRESS_SECONDS:.0f} s and {RUNNING} queued;"
        " no work is done.",
        "The times until a scrape is read include other work of the machine; the processor time is the coordinator's own.",
        f"Processor time of the coordinator's process over windows of {WINDOW_SECONDS:.0f} s, with viewers and without in turn;"
        f" medians of {ROUNDS} rounds.",
    ]
    return Result("watching", "What being watched costs a coordinator", ["what", "unit", "value"], rows, notes)


async def _measure(stack: OwnedStack) -> tuple[list[float], float, dict[str, list[float]]]:
    token = secrets.token_urlsafe(12)
    part = worker("coordinator", "coordinator", stack.folder, {"EXTENTS_PAGE_OPERATOR_TOKEN": token})
    database = await psycopg.AsyncConnection.connect(stack.dsn, autocommit=True)
    prefix = f"{Settings().supabase.schema_name}.{TABLE_PREFIX}"
    await database.execute(_FILL.format(prefix=prefix, running=RUNNING, runs=RUNS).encode())
    await part.start()
    assert part.process is not None
    address, pid = f"http://{HOST}:{part.environment['EXTENTS_HTTP_PORT']}", part.process.pid
    progressing = asyncio.create_task(_progress(database, prefix))
    shares: dict[str, list[float]] = {"nobody": [], f"{VIEWERS} viewers": []}
    try:
        await asyncio.sleep(WINDOW_SECONDS / 2)  # until the cost of the start is over
        before = _processor_seconds(pid)
        scrapes = await _scrape(address)
        scrape_cpu = 1000 * (_processor_seconds(pid) - before) / SCRAPES
        for turn in range(1, ROUNDS + 1):
            shares["nobody"].append(await _share(pid))
            async with _viewers(address, token):
                await asyncio.sleep(PROGRESS_SECONDS)
                shares[f"{VIEWERS} viewers"].append(await _share(pid))
            shown = ", ".join(f"{name} {100 * values[-1]:.2f} %" for name, values in shares.items())
            print(f"  round {turn} of {ROUNDS}: {shown}", file=sys.stderr, flush=True)
    finally:
        progressing.cancel()
        await part.stop()
        await database.close()
    return scrapes, scrape_cpu, shares


async def _progress(database: psycopg.AsyncConnection, prefix: str) -> None:
    """Write progress as a busy installation does, so that the page changes."""
    while True:
        await database.execute(_PROGRESS.format(prefix=prefix).encode())
        await asyncio.sleep(PROGRESS_SECONDS)


async def _scrape(address: str) -> list[float]:
    """Measure each scrape in milliseconds, with a new connection each time, as Prometheus does."""
    taken = []
    async with aiohttp.ClientSession(raise_for_status=True) as http:
        for _ in range(SCRAPES):
            began = time.perf_counter()
            async with http.get(f"{address}/metrics") as answer:
                await answer.read()
            taken.append(1000 * (time.perf_counter() - began))
    return taken


@asynccontextmanager
async def _viewers(address: str, token: str) -> AsyncIterator[None]:
    """Viewers that follow the page's events."""

    async def follow() -> None:
        jar = aiohttp.CookieJar(unsafe=True)  # the address is an IP address
        async with aiohttp.ClientSession(cookie_jar=jar, raise_for_status=True, timeout=aiohttp.ClientTimeout()) as http:
            async with http.post(f"{address}{ROOT}/login", data={"token": token}) as answer:
                await answer.read()
            async with http.get(f"{address}{ROOT}/events") as events:
                async for _ in events.content.iter_any():
                    pass

    viewers = [asyncio.create_task(follow()) for _ in range(VIEWERS)]
    try:
        yield
    finally:
        for viewer in viewers:
            if viewer.done():
                viewer.result()
            viewer.cancel()
        await asyncio.gather(*viewers, return_exceptions=True)


async def _share(pid: int) -> float:
    """Processor time of a process in a window, as a share of one core."""
    before, began = _processor_seconds(pid), time.monotonic()
    await asyncio.sleep(WINDOW_SECONDS)
    return (_processor_seconds(pid) - before) / (time.monotonic() - began)


def _processor_seconds(pid: int) -> float:
    """User and system time of all threads: fields 14 and 15 of its stat, counted after the name, which may hold spaces."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
