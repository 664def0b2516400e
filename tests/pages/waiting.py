"""Waits for a condition in a page whose policy forbids evaluating strings."""

from playwright.sync_api import Page

from tests.patience import Deadline

POLL_MILLISECONDS = 20


def until(page: Page, condition: str, limit_seconds: float = 30.0) -> None:
    """Wait until a JavaScript expression is true.

    Playwright's ``wait_for_function`` evaluates the expression within the page on every try but the first. The policies of our
    pages forbid that, so it fails when the condition is not met at once. The debugger, which ``evaluate`` uses, is not bound by them.

    Raises:
        TimeoutError: The expression is still false after the limit.
    """
    deadline = Deadline(limit_seconds)
    while not page.evaluate(condition):
        if deadline.passed:
            raise TimeoutError(f"still false in {page.url}: {condition}")
        page.wait_for_timeout(POLL_MILLISECONDS)
