"""A headless Chromium for the tests of pages. Any error on a page fails the test."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.debian import program
from tests.pages.served import Served, serving


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium without its sandbox, which needs rights that containers rarely have. It opens only our own pages."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def served(stack, tmp_path_factory) -> Iterator[Served]:
    """The page over an installation with a finished run, one in progress, a rejection, dead letters and replays; no worker runs."""
    with serving(stack, tmp_path_factory.mktemp("ui")) as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1300, "height": 1000}, color_scheme="light")
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that must log no error, raise none, and contact only the host that served it."""
    page, errors, requests = context.new_page(), [], []
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    yield page
    assert errors == []
    hosts = {url.split("/")[2] for url in requests if not url.startswith(("data:", "blob:"))}
    assert hosts <= {"", page.url.split("/")[2]}, f"requests went to {hosts}"
