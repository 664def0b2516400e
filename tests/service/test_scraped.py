"""A real Prometheus scrapes real workers, and every panel, rule and alert finds its data."""

import asyncio
import re
from pathlib import Path

import pytest
import pytest_asyncio

from tests.dashboards.drawing import page, series_of
from tests.dashboards.scrape import Prometheus, prometheus
from tests.debian import program
from tests.pages.pictures import IMAGES, compressed
from tests.service.installation import Installation
from tests.service.processes import WAIT_SECONDS
from tests.service.videos import video
from tools.dashboards.alerts import ALERTS
from tools.dashboards.boards import BOARDS
from tools.dashboards.grafana import ANNOTATIONS
from tools.dashboards.model import Board
from tools.dashboards.rules import RULES

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

SHOWN_SECONDS = 120


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scraped(service: Installation, tmp_path_factory: pytest.TempPathFactory):
    """Both workers, scraped continuously, after a run of each outcome."""
    program("prometheus")
    coordinator, gpu = service.processes.start("coordinator"), service.processes.start("gpu")
    async with asyncio.timeout(WAIT_SECONDS):
        await coordinator.ready()
        await gpu.ready()
    targets = {job: _address(worker.log) for job, worker in (("coordinator", coordinator), ("gpu-worker", gpu))}
    async with prometheus(tmp_path_factory.mktemp("prometheus"), targets) as running:
        await _until_data(running, "up == 1", 2)
        await service.run(video(514))
        await service.run(video(514).with_chunk("modulo_1/chunk_0000000001.webm", b"this is no film"))
        await service.run(video(2), model_version="unknown")
        await service.run(video(514))
        await _until_data(running, 'extents_unhandled_dead_letters{reason="span_failed"} == 1', 1)
        await asyncio.sleep(3)
        yield running


def _address(log: Path) -> str:
    address = re.search(r'"addresses":\["http://([^"]+)"', log.read_text())
    assert address is not None
    return address[1].replace("0.0.0.0", "127.0.0.1")


async def _until_data(running: Prometheus, expr: str, series: int) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            if len(await running.ask(expr)) >= series:
                return
            await asyncio.sleep(0.5)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
async def test_every_panel_has_data(scraped: Prometheus, board: Board):
    """Each expression of each panel has at least one series with the labels of its legend."""
    for panel in board.panels:
        for query in panel.queries:
            series = await scraped.ask(query.expr)
            assert series, f"{board.title}, {panel.title}: {query.expr}"
            for label in re.findall(r"{{(\w+)}}", query.legend):
                assert all(label in each["metric"] for each in series), f"{panel.title}: {label}"
    if IMAGES is not None:
        await _keep(scraped, board)


@pytest.mark.parametrize(("name", "expr"), ANNOTATIONS.items())
async def test_every_annotation_can_be_asked(scraped: Prometheus, name: str, expr: str):
    """Each metric that an annotation names exists, and the query succeeds, with an empty result if nothing has happened."""
    await scraped.ask(expr)
    for metric in re.findall(r"extents_[a-z_]+(?:{[^}]*})?", expr):
        assert await scraped.ask(metric), f"{name}: {metric}"


async def test_every_rule_has_data(scraped: Prometheus):
    """Each recording rule has a series."""
    for rule in RULES:
        assert await scraped.ask(rule.record), rule.record


async def test_every_alert_looks_at_data_and_is_quiet(scraped: Prometheus):
    """Each metric and label of an alert has data, and no alert fires; those for letters and rejections are pending."""
    for alert in ALERTS:
        for selector in re.findall(r"(?:extents[a-z_:0-9]+|up|process_start_time_seconds)(?:{[^}]*})?", alert.expr):
            assert await scraped.ask(selector), f"{alert.name}: {selector}"
    firing = {each["metric"]["alertname"] for each in await scraped.ask('ALERTS{alertstate="firing"}')}
    assert firing == set()
    pending = {each["metric"]["alertname"] for each in await scraped.ask("ALERTS")}
    assert {"ExtentsDeadLetters", "ExtentsRejectionsUnacknowledged"} <= pending


async def _keep(scraped: Prometheus, board: Board) -> None:
    from playwright.async_api import async_playwright

    assert IMAGES is not None
    drawn = []
    for panel in board.panels:
        results = [(query.legend, await scraped.over_time(query.expr, SHOWN_SECONDS)) for query in panel.queries]
        drawn.append((panel, series_of(results)))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program("chromium"), args=["--no-sandbox"])
        shown = await browser.new_page(viewport={"width": 1180, "height": 900})
        await shown.set_content(page(board.title, drawn))
        picture = compressed(await shown.screenshot(full_page=True))
        (IMAGES / f"{board.uid.replace('extents', 'dashboard')}.png").write_bytes(picture)
        await browser.close()
