"""The runbook shows what the commands print."""

from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_the_quote_on_the_page_is_what_the_command_prints() -> None:
    """Word for word, as a snapshot holds the command's output."""
    assert (TESTS / "cli" / "snapshots" / "quote.txt").read_text() in (TESTS.parent / "docs" / "operations.md").read_text()
