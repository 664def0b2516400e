"""Two runs compared in a browser: both timelines move together, and each change shows its strips."""

import io
import re
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from cli.operations.comparing.compare import worst_places
from cli.operations.comparing.strips import boundary_frames
from core.comparison import compare
from pages.report.comparison import render_comparison
from storage.run_db import build_run_db
from storage.run_db_reader import RunDatabase, read_run_db
from tests.pages.pictures import keep, violations
from tests.pages.runs import run_database
from tests.storage.finished_runs import fixed_run

PAIRS = 3_000


def runs() -> tuple[RunDatabase, RunDatabase]:
    """Two runs of a film; in some parts the second one sees everything four frames later."""
    before = run_database(PAIRS)
    probabilities = before.probabilities.copy()
    for begin in range(300, PAIRS, 700):
        stretch = slice(begin, begin + 200)
        probabilities[stretch] = np.roll(probabilities[stretch], 4, axis=0)
    after = fixed_run(PAIRS, probabilities=probabilities, run_id=UUID(int=9), model_version="another")
    return before, read_run_db(build_run_db(after), "after.db")


def strips(frames: Iterable[int]) -> dict[int, bytes]:
    """Pictures of one colour each."""
    pictures = {}
    for frame in frames:
        file = io.BytesIO()
        Image.new("RGB", (402, 28), (frame % 256, 60, 90)).save(file, "PNG")
        pictures[frame] = file.getvalue()
    return pictures


def rendered(before: RunDatabase, after: RunDatabase, title: str = "Captions that changed", without: str | None = None) -> str:
    places = worst_places(compare(before.track, after.track))
    images = {} if without else strips(boundary_frames(places, PAIRS + 1))
    return render_comparison(title, [("before", before.run_id), ("after", after.run_id)], before, after, places, images, without)


def opened(page: Page, folder: Path, text: str) -> Page:
    path = folder / "changes.html"
    path.write_text(text)
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready=true]")
    return page


def test_both_timelines_move_together(page, tmp_path):
    """If either timeline is moved, the other shows the same part of the film."""
    opened(page, tmp_path, rendered(*runs()))
    for mover in (0, 1):
        page.evaluate(f"timelines[{mover}].show({500 * (1 + mover)}, 900 + {500 * mover})")
        views = page.evaluate("timelines.map((each) => [each.from, each.to])")
        assert views[0] == views[1] == [500 * (1 + mover), 900 + 500 * mover]


def test_a_change_shows_its_strips(page, tmp_path):
    """A row of the list brings its caption into view in both timelines, and shows the strips either side of its boundaries."""
    opened(page, tmp_path, rendered(*runs()))
    keep(page, "compare", whole=True)
    row = page.locator("#looks tbody tr").nth(3)
    row.get_by_role("button").click()
    assert row.get_attribute("aria-current") == "true"
    assert page.locator("#choice img").count() in (2, 4, 8)
    assert row.locator("button").inner_text() in page.locator("#choice h2").inner_text()


def test_captions_that_changed_are_marked(page, tmp_path):
    """The timelines mark every caption that changed, including those for which the list has no room."""
    before, after = runs()
    opened(page, tmp_path, rendered(before, after))
    changes = compare(before.track, after.track)
    marked = page.evaluate("timelines.map((each) => each.changed.size)")
    assert marked == [len(changes.lost) + len(changes.moved), len(changes.added) + len(changes.moved)]


def test_two_equal_runs_say_so(page, tmp_path):
    """If nothing changed, the page says so and shows both timelines."""
    opened(page, tmp_path, rendered(run_database(PAIRS), run_database(PAIRS)))
    assert "None: both runs have the same captions." in page.locator("main").inner_text()


def test_the_page_loads_nothing_and_obeys_nothing():
    """The document names no other file or host; a title and a reason with markup in them are text."""
    hostile = "</script><img src=x onerror=alert(1)>"
    text = rendered(*runs(), hostile, hostile)
    assert re.findall(r'\b(?<!-)(?:src|href|action)\s*=\s*"(?!data:)', text) == []
    assert re.findall(r"https?://|@import|url\(", text) == []
    assert hostile not in text
    assert text.count("<script") == text.count("</script>") == 2


@pytest.mark.parametrize(("scheme", "width"), [("light", 1300), ("dark", 390)])
def test_the_comparison_is_accessible(context, tmp_path, scheme, width):
    """axe-core finds no violation, in light, dark and on a phone, where nothing is cut off."""
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    opened(page, tmp_path, rendered(*runs()))
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
