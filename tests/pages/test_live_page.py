"""The live page in a browser, served by ``extents ui`` over the embedded stack."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from core.admission import Rejection
from core.runs import StoredRun
from core.settings import KafkaSettings, Settings, TopicSettings
from core.types import RejectionType
from storage.connect import object_keys, open_rows, open_store
from storage.run_db_reader import read_run_db
from streams.kafka.topic_admin import ensure_topics
from streams.topics import Topics
from tests.debian import AXE
from tests.pages.runs import run_bytes
from tests.storage.admission_requests import WIDE, request
from tests.storage.finished_runs import finished_run

VIEWER, OPERATOR = "a-viewers-token", "an-operators-token"
WAIT_MS = 30_000
PAIRS = 1_500
IMAGES = Path(os.environ["EXTENTS_SCREENSHOTS"]) if "EXTENTS_SCREENSHOTS" in os.environ else None
"""Folder for screenshots of the pages: ``EXTENTS_SCREENSHOTS=docs/images``."""


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    completed: UUID
    running: UUID
    rejected: UUID
    rejected_video: UUID
    dsn: str
    schema: str


@pytest.fixture(scope="module")
def served(stack, tmp_path_factory) -> Iterator[Served]:
    """The page of an installation with a finished run, one in progress and a rejection."""
    name = uuid4().hex[:12]
    bucket = f"{stack.config.bucket}-{name}"
    stack.create_bucket(bucket)
    env = {**stack.env, "WASABI_BUCKET": bucket, "EXTENTS_TOPIC_PREFIX": f"test-{name}."}
    env |= {"EXTENTS_PAGE_VIEWER_TOKEN": VIEWER, "EXTENTS_PAGE_OPERATOR_TOKEN": OPERATOR}
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in env.items():
            patch.setenv(variable, value)
        with ThreadPoolExecutor(1) as thread:  # Playwright runs an event loop in this thread
            ids = thread.submit(lambda: asyncio.run(_fill(Settings()))).result()
    log = tmp_path_factory.mktemp("ui") / "log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "cli", "ui", "--port", "0"]
        process = subprocess.Popen(command, env={**os.environ, **env}, stderr=output, stdout=output)
        try:
            url = _address(process, log)
            yield Served(url, *ids, stack.dsn, env["SUPABASE_SCHEMA"])
        finally:
            process.terminate()
            assert process.wait(30) in (0, 1, -15), log.read_text()


def _address(process: subprocess.Popen, log: Path) -> str:
    for _ in range(1200):
        found = [line for line in log.read_text().splitlines() if line.startswith("live page: ")]
        if found:
            return found[0].partition(": ")[2].rstrip("/")
        assert process.poll() is None, log.read_text()
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(log.read_text())


async def _fill(settings: Settings) -> tuple[UUID, UUID, UUID, UUID]:
    topics = Topics(TopicSettings())
    await ensure_topics(topics.specs(), KafkaSettings())
    finished, running = request(), request()
    refused = request(
        frame_count=300_000,
        rejection=Rejection(RejectionType.FRAME_COUNT_EXCEEDED, "300000 frames; at most 200000 are allowed (EXTENTS_MAX_FRAME_COUNT)"),
    )
    async with open_rows(settings.supabase) as rows, open_store(settings.wasabi) as store:
        answers = {each.request_id: await rows.admit(each, WIDE) for each in (finished, running, refused)}
        await rows.record_progress(running.run_id, 1, 300, datetime.now(UTC))
        data = run_bytes(PAIRS)
        now = datetime.now(UTC)
        run = finished_run(
            PAIRS,
            started_at=now,
            completed_at=now + timedelta(seconds=14),
            probabilities=read_run_db(data, "run").probabilities,
            run_id=finished.run_id,
            attempt=answers[finished.request_id].attempt,
            request_id=finished.request_id,
            tenant_id=finished.tenant_id,
            video_id=finished.video_id,
            cropped_frames_version=finished.cropped_frames_version,
            model_version=finished.model_version,
        )
        key = object_keys(settings.keys).run_db(run.tenant_id, run.video_id, run.cropped_frames_version, run.model_version, run.run_id)
        await store.put(key, data)
        await rows.complete_run(run, StoredRun(key, len(data), "0" * 64, run.attempt, False))
    return finished.run_id, running.run_id, refused.request_id, refused.video_id


def log_in(page: Page, served: Served, token: str, name: str = "") -> Page:
    page.goto(f"{served.url}/login")
    page.get_by_label("Token").fill(token)
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("html[data-ready=true]", timeout=WAIT_MS)
    return page


def keep(page: Page, name: str) -> None:
    if IMAGES is not None:
        page.screenshot(path=IMAGES / f"{name}.png", full_page=False)


def violations(page: Page) -> list[tuple[str, str]]:
    """Inject axe through the debugger, which the page's policy cannot block."""
    page.evaluate(AXE.read_text())
    return [(each["id"], each["nodes"][0]["html"]) for each in page.evaluate("axe.run().then((result) => result.violations)")]


def test_nothing_is_shown_without_a_token(page, served):
    """Without a session every page redirects to the login, and a wrong token is rejected."""
    for path in ("/", "/runs/" + str(served.completed), "/videos/" + str(served.rejected_video), "/search?q=x"):
        page.goto(served.url + path)
        assert page.url == f"{served.url}/login"
        assert str(served.completed)[:8] not in page.content()
    keep(page, "live-login")
    refused = page.request.post(f"{served.url}/login", form={"token": "wrong-token-123"})
    assert refused.status == 403
    assert "set-cookie" not in refused.headers
    assert refused.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    for answer in (page.request.post(f"{served.url}/assets/base.css"), page.request.get(f"{served.url}/assets/../runs/x", max_redirects=0)):
        assert answer.status in (303, 405)
        assert answer.headers["content-security-policy"] == refused.headers["content-security-policy"]


def test_the_home_page_shows_what_goes_on(page, served):
    """The home page shows progress, outcomes, rejections and charts, and updates without a reload."""
    log_in(page, served, VIEWER)
    expect(page.locator("#connection")).to_have_text("live", timeout=WAIT_MS)
    body = page.locator("main").inner_text()
    assert str(served.running)[:8] in body
    assert str(served.completed)[:8] in body
    assert "at most 200000 are allowed" in body
    assert page.locator("#chart-backlog canvas").count() == 1
    assert page.get_by_role("button", name="Acknowledge").count() == 0
    with psycopg.connect(served.dsn, autocommit=True) as database:
        table = f"{served.schema}.caption_frame_extents_inference_jobs"
        database.execute(f"update {table} set pairs_done = 450 where run_id = %s", (str(served.running),))
    expect(page.get_by_label(f"Progress of run {str(served.running)[:8]}")).to_have_attribute("value", "450", timeout=WAIT_MS)
    keep(page, "live-home")


def test_a_viewer_may_not_act(page, served):
    """An action with a viewer's session, or with a form of another session, is rejected."""
    log_in(page, served, VIEWER)
    token = page.locator("input[name=form_token]").first.input_value()
    for form_token, message in ((token, "You may look, but not act"), ("0" * 64, "comes from another site")):
        answer = page.request.post(f"{served.url}/rejections/{served.rejected}/acknowledge", form={"form_token": form_token})
        assert answer.status == 403
        assert message in answer.text()


def test_an_operator_acknowledges_a_rejection(page, served):
    """An acknowledged rejection leaves the list, the audit table records who did it, and repeating the action changes nothing."""
    log_in(page, served, OPERATOR, "Ada")
    button = page.locator(f"#acknowledge-{served.rejected}")
    expect(button).to_be_visible(timeout=WAIT_MS)
    button.click()
    expect(page.locator(f"#acknowledge-{served.rejected}")).to_have_count(0, timeout=WAIT_MS)
    form = {"form_token": page.locator("input[name=form_token]").first.input_value()}
    assert page.request.post(f"{served.url}/rejections/{served.rejected}/acknowledge", form=form).ok
    with psycopg.connect(served.dsn) as database:
        prefix = f"{served.schema}.caption_frame_extents_inference_"
        assert database.execute(f"select acknowledged from {prefix}rejections where id = %s", (served.rejected,)).fetchone() == (True,)
        actions = database.execute(
            f"select role, name, action from {prefix}page_actions where target = %s", (str(served.rejected),)
        ).fetchall()
    assert actions == [("operator", "Ada", "rejection.acknowledged")]


def test_a_run_is_found_and_shown(page, served):
    """Search leads to the run, the page shows its captions on a timeline, and its report can be downloaded."""
    log_in(page, served, VIEWER)
    page.get_by_label("Id of a run").fill(str(served.completed)[:8])
    page.get_by_role("button", name="Search").click()
    page.wait_for_selector("html[data-ready=true]", timeout=WAIT_MS)
    assert page.url == f"{served.url}/runs/{served.completed}"
    assert page.evaluate("timeline.data.pairs") == PAIRS
    assert "frames" in page.locator("#choice h2").inner_text()
    keep(page, "live-run")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the report").click()
    assert "Captions of run" in Path(download.value.path()).read_text()
    page.goto(f"{served.url}/search?q={str(served.running)[:8]}")
    assert page.url == f"{served.url}/runs/{served.running}"


def test_a_video_and_what_is_unknown(page, served):
    """A video's page lists its requests, and an unknown id gives a readable 404."""
    log_in(page, served, VIEWER)
    page.goto(f"{served.url}/search?q={served.rejected_video}")
    assert page.url == f"{served.url}/videos/{served.rejected_video}"
    assert "frame count exceeded" in page.locator("main").inner_text()
    answer = page.request.get(f"{served.url}/search?q={uuid4()}")
    assert answer.status == 404
    assert "Nothing is known" in answer.text()
    assert page.request.get(f"{served.url}/runs/x").status == 404


@pytest.mark.parametrize(("scheme", "width"), [("light", 1300), ("dark", 1300), ("light", 390)])
def test_pages_are_accessible(context: BrowserContext, served, scheme, width):
    """axe-core finds no violation on any page in light, in dark and on a phone, and no page is wider than the screen."""
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{served.url}/login")
    assert violations(page) == []
    log_in(page, served, OPERATOR)
    expect(page.locator("#connection")).to_have_text("live", timeout=WAIT_MS)
    for path in ("/", f"/runs/{served.completed}", f"/videos/{served.rejected_video}", f"/runs/{served.running}"):
        page.goto(served.url + path)
        page.wait_for_timeout(500)
        assert violations(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        if path == "/" and (scheme, width) != ("light", 1300):
            keep(page, "live-home-phone" if width < 640 else "live-home-dark")


def test_logging_out_ends_the_session(page, served):
    """After logging out, the home page redirects to the login."""
    log_in(page, served, VIEWER)
    page.get_by_role("button", name="Log out").click()
    page.goto(f"{served.url}/")
    assert page.url == f"{served.url}/login"
