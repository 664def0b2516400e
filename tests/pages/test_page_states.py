"""How the live page looks when it is busy, empty and broken: in light, dark and on a phone, over made-up data."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.pages.pictures import keep, violations
from tests.pages.sample_rows import RUN, TENANT, VIDEO
from tests.pages.sample_service import OPERATOR, sample_site

WAIT_MS = 30_000


@pytest.fixture(scope="module")
def sites():
    """Addresses by state."""
    with sample_site("busy") as busy, sample_site("empty") as empty, sample_site("error") as error:
        yield {"busy": busy, "empty": empty, "error": error}


def opened(context: BrowserContext, address: str, path: str, scheme: str = "light", width: int = 1300, height: int = 1000) -> Page:
    """A page of the site, logged in as an operator."""
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"{address}/login")
    page.get_by_label("Token").fill(OPERATOR)
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("html[data-ready=true]", timeout=WAIT_MS)
    if path != "/":
        page.goto(address + path)
    else:
        expect(page.locator("#connection")).to_have_text("live", timeout=WAIT_MS)
        page.wait_for_timeout(300)
    return page


@pytest.mark.parametrize(
    ("state", "scheme", "width", "name"),
    [
        ("busy", "light", 1300, "live-home"),
        ("busy", "dark", 1300, "live-home-dark"),
        ("busy", "light", 390, "live-home-phone"),
        ("empty", "light", 1300, "live-home-empty"),
        ("empty", "dark", 390, None),
        ("error", "light", 1300, "live-home-error"),
        ("error", "dark", 390, None),
    ],
)
def test_the_home_page_in_each_state(context, sites, state, scheme, width, name):
    """Nothing is cut off, axe-core finds no violation, and what is missing is named, in every state, light, dark and on a phone."""
    page = opened(context, sites[state], "/", scheme, width)
    if name is not None:
        keep(page, name)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    text = page.locator("main").inner_text()
    assert ("cannot be read" in text) == (state == "error")
    assert ("Nothing is in progress" in text) == (state == "empty")
    states = [each.inner_text() for each in page.locator("#part-workers td[data-label=state] .badge").all()]
    assert states == (["waiting", "ready", "ready", "gone", "stable", "stable"] if state == "busy" else [])
    assert page.get_by_role("button", name="Redrive").count() == (2 if state == "busy" else 0)


@pytest.mark.parametrize(
    ("path", "name"),
    [(f"/runs/{RUN}", "live-run"), (f"/videos/{VIDEO}", "live-video"), ("/replays/shadow-test", "live-replay")],
)
@pytest.mark.parametrize(("scheme", "width"), [("light", 1300), ("dark", 390)])
def test_the_other_pages(context, sites, path, name, scheme, width):
    """The pages of a run, a video and a replay fit a screen and a phone, and axe-core finds no violation."""
    page = opened(context, sites["busy"], path, scheme, width)
    page.wait_for_timeout(300)
    if scheme == "light":
        keep(page, name, whole=True)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_times_grow_older_by_themselves(context, sites):
    """Ages on a page are updated even if nothing else changes."""
    page = opened(context, sites["busy"], f"/videos/{TENANT}")
    assert "Nothing is known" in page.locator("main").inner_text()
    page = opened(context, sites["busy"], "/")
    page.evaluate("document.querySelector('#part-in_progress time').dateTime = new Date(Date.now() - 50_000).toISOString()")
    expect(page.locator("#part-in_progress time").first).to_have_text(re.compile(r"^5\d s ago$"), timeout=WAIT_MS)


def test_the_focus_survives_an_update(context, sites):
    """The button with the keyboard focus keeps it when its table is replaced."""
    page = opened(context, sites["busy"], "/")
    page.locator("#letters-0-17-redrive").focus()
    page.evaluate("put('part-letters', document.getElementById('part-letters').innerHTML)")
    assert page.evaluate("document.activeElement.id") == "letters-0-17-redrive"


def test_a_lost_connection_is_shown(context):
    """A page whose server has gone says so, and keeps what it shows."""
    with sample_site("empty") as address:
        page = opened(context, address, "/")
    expect(page.locator("#connection")).to_have_text("connection lost, reconnecting", timeout=WAIT_MS)
    assert "Nothing is in progress" in page.locator("main").inner_text()
