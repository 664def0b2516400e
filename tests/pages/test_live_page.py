"""The live page in a browser, served by ``extents ui`` over the embedded stack."""

import json
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.pages.pictures import violations
from tests.pages.runs import run_bytes
from tests.pages.served import OPERATOR, PAIRS, VIEWER, WAIT_MS, extents, log_in


def test_nothing_is_shown_without_a_token(page, served):
    """Without a session every page redirects to the login, and a wrong token is rejected."""
    for path in ("/", "/runs/" + str(served.completed), "/videos/" + str(served.rejected_video), "/search?q=x"):
        page.goto(served.url + path)
        assert page.url == f"{served.url}/login"
        assert str(served.completed)[:8] not in page.content()
    refused = page.request.post(f"{served.url}/login", form={"token": "wrong-token-123"})
    assert refused.status == 403
    assert "set-cookie" not in refused.headers
    assert refused.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    for answer in (page.request.post(f"{served.url}/assets/base.css"), page.request.get(f"{served.url}/assets/../runs/x", max_redirects=0)):
        assert answer.status in (303, 405)
        assert answer.headers["content-security-policy"] == refused.headers["content-security-policy"]


def test_the_home_page_shows_work_in_progress(page, served):
    """The home page shows progress, outcomes, rejections and charts, and updates without a reload."""
    log_in(page, served, VIEWER)
    expect(page.locator("#connection")).to_have_text("live", timeout=WAIT_MS)
    for text in (str(served.running)[:8], str(served.completed)[:8], "at most 200000 are allowed"):
        expect(page.locator("main")).to_contain_text(text, timeout=WAIT_MS)
    expect(page.locator(".charts canvas")).to_have_count(3, timeout=WAIT_MS)
    expect(page.locator("#part-figures")).to_contain_text("$0.0", timeout=WAIT_MS)
    assert page.get_by_role("button", name="Acknowledge").count() == 0
    served.ask("update {}jobs set pairs_done = 450 where run_id = %s", str(served.running))
    expect(page.get_by_label(f"Progress of run {str(served.running)[:8]}")).to_have_attribute("value", "450", timeout=WAIT_MS)


def test_a_run_is_found_and_shown(page, served):
    """Search leads to the run, the page shows its captions on a timeline, and its report can be downloaded."""
    log_in(page, served, VIEWER)
    page.get_by_label("Id of a run").fill(str(served.completed)[:8])
    page.get_by_role("button", name="Search").click()
    page.wait_for_selector("html[data-ready=true]", timeout=WAIT_MS)
    assert page.url == f"{served.url}/runs/{served.completed}"
    assert page.evaluate("timeline.data.pairs") == PAIRS
    assert "frames" in page.locator("#choice h2").inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the report").click()
    assert "Captions of run" in Path(download.value.path()).read_text()
    page.goto(f"{served.url}/search?q={str(served.running)[:8]}")
    assert page.url == f"{served.url}/runs/{served.running}"


def test_a_run_in_progress_shows_its_log(page, served):
    """The page shows the history of the run, and each span's state, worker, tries and seconds, from the run's log."""
    log_in(page, served, VIEWER)
    page.goto(f"{served.url}/runs/{served.running}")
    assert "run started" in page.locator("table.history").inner_text()
    rows = [row.inner_text().split() for row in page.locator("table.spans tbody tr").all()]
    assert [row[:2] for row in rows] == [["0", "done"], ["1", "waiting"], ["2", "waiting"]]
    assert {"w:1", "cpu", "1.5", "0.5"} <= set(rows[0])
    assert page.locator("svg.spanbar rect.done").count() == 1


def test_the_object_of_a_run_can_be_kept(page, served):
    """The link to the object gives its exact bytes."""
    log_in(page, served, VIEWER)
    answer = page.request.get(f"{served.url}/runs/{served.completed}/run.db")
    assert answer.body() == run_bytes(PAIRS)


def test_a_video_shows_what_why_says(page, served):
    """The page of a video and ``extents why`` show the same facts and the same sentence."""
    log_in(page, served, VIEWER)
    for video in (served.completed_video, served.rejected_video):
        page.goto(f"{served.url}/search?q={video}")
        assert page.url == f"{served.url}/videos/{video}"
        result = json.loads(extents(served, "why", str(video), "--json"))
        assert page.locator(".answer").inner_text() == result["why"]
        shown = [row.locator("td").all_inner_texts()[1:] for row in page.locator("table.history tbody tr").all()]
        assert shown == [[moment["what"], moment["detail"]] for moment in result["moments"]]


def test_a_tenant_and_what_is_unknown(page, served):
    """A tenant's page lists its runs and rejections, and a page of something unknown says that it does not exist."""
    log_in(page, served, VIEWER)
    tenant = served.ask("select tenant_id from {}jobs where run_id = %s", str(served.completed))[0][0]
    page.goto(f"{served.url}/search?q={tenant}")
    assert page.url == f"{served.url}/videos/{tenant}"
    assert str(served.completed)[:8] in page.locator("main").inner_text()
    answer = page.request.get(f"{served.url}/search?q={uuid4()}")
    assert answer.status == 404
    assert "Nothing is known" in answer.text()
    for path in ("runs/x", "replays/x", f"runs/{served.running}/run.db"):
        assert page.request.get(f"{served.url}/{path}").status == 404
    assert page.request.get(f"{served.url}/search?q=untouched").url == f"{served.url}/replays/untouched"


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
    for path in ("/", f"/runs/{served.completed}", f"/videos/{served.rejected_video}", f"/runs/{served.running}", "/replays/untouched"):
        page.goto(served.url + path)
        page.wait_for_timeout(500)
        assert violations(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_logging_out_ends_the_session(page, served):
    """After logging out, the home page redirects to the login."""
    log_in(page, served, VIEWER)
    page.get_by_role("button", name="Log out").click()
    page.goto(f"{served.url}/")
    assert page.url == f"{served.url}/login"
