"""The report of a run in a browser: drawn fast, usable by mouse and keyboard, and accessible."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from pages.report.page import render_report
from tests.pages.pictures import keep, violations
from tests.pages.runs import run_database
from tests.pages.waiting import until

DRAWN_WITHIN_MILLISECONDS = 250
"""On a busy machine without a GPU. On an idle one it takes about 20."""


def opened(page: Page, folder: Path, pairs: int) -> Page:
    path = folder / "report.html"
    path.write_text(render_report(run_database(pairs)))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready=true]")
    until(page, "timeline.drawMilliseconds > 0")
    return page


def view(page: Page) -> tuple[float, float]:
    return page.evaluate("[timeline.from, timeline.to]")


def test_an_hour_is_drawn_at_once(page, tmp_path):
    """A film of 36,000 pairs is drawn within a quarter of a second, whole and while it moves."""
    opened(page, tmp_path, 36_000)
    assert view(page) == [0, 36_001]
    draw = "timeline.from = step * 100; timeline.to = 30000; timeline.draw(); return timeline.drawMilliseconds;"
    times = page.evaluate(f"() => [0, 1, 2, 3, 4].map((step) => {{ {draw} }})")
    assert sorted(times)[2] < DRAWN_WITHIN_MILLISECONDS


def test_the_timeline_zooms_and_moves(page, tmp_path):
    """The wheel zooms around the pointer, dragging moves the view, and zooming out ends at the whole film."""
    opened(page, tmp_path, 3_000)
    box = page.locator(".lanes").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    page.mouse.wheel(0, -600)
    until(page, "timeline.length < 2000")
    begin, end = view(page)
    assert begin + end == pytest.approx(3_001, abs=20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 200, box["y"] + 100, steps=4)
    page.mouse.up()
    assert view(page)[0] < begin
    page.mouse.wheel(0, 5_000)
    until(page, "timeline.length === 3001")
    assert view(page) == [0, 3_001]


def test_the_keyboard_reaches_everything(page, tmp_path):
    """Arrows, plus, minus and 0 change the view; n and p go from boundary to boundary, and the pair is described in words."""
    opened(page, tmp_path, 3_000)
    page.locator(".lanes").focus()
    for _ in range(4):
        page.keyboard.press("+")
    begin, end = view(page)
    assert end - begin < 500
    page.keyboard.press("ArrowRight")
    assert view(page)[0] > begin
    chosen = page.evaluate("timeline.chosen")
    page.keyboard.press("n")
    following = page.evaluate("timeline.chosen")
    assert following == page.evaluate(f"timeline.data.boundaries.find((pair) => pair > {chosen})")
    assert f"frames {following} and {following + 1}" in page.locator("#choice h2").inner_text()
    page.keyboard.press("p")
    assert page.evaluate("timeline.chosen") == chosen
    page.keyboard.press("0")
    assert view(page) == [0, 3_001]


def test_a_click_on_the_list_shows_the_pair(page, tmp_path):
    """A click on a row of the list shows its pair on the timeline and marks the row."""
    opened(page, tmp_path, 6_000)
    row = page.locator("#looks tbody tr").nth(2)
    row.get_by_role("button").click()
    pair = int(row.get_attribute("data-pair"))
    begin, end = view(page)
    assert begin <= pair <= end
    assert row.get_attribute("aria-current") == "true"


def test_a_click_on_the_timeline_takes_the_boundary_beside_it(page, tmp_path):
    """A click a few pixels beside a boundary chooses that boundary, because a single pair is too narrow to hit."""
    opened(page, tmp_path, 300)
    boundary = page.evaluate("timeline.data.boundaries[2]")
    box = page.locator(".lanes").bounding_box()
    page.mouse.click(box["x"] + (boundary + 1) / 301 * box["width"] + 3, box["y"] + 100)
    assert page.evaluate("timeline.chosen") == boundary


def test_all_captions_are_listed_as_a_table(page, tmp_path):
    """The table below has a row for each caption, so that nothing is only in the picture."""
    opened(page, tmp_path, 3_000)
    page.locator("#captions summary").click()
    assert page.locator("#captions tbody tr").count() == len(run_database(3_000).track.captions)


def test_without_a_script_the_tables_remain(browser, tmp_path):
    """Without JavaScript, the page says what needs it and hides that, and all captions are still listed."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    (tmp_path / "report.html").write_text(render_report(run_database(600)))
    page.goto((tmp_path / "report.html").as_uri())
    assert page.locator("noscript p").inner_text() == "The timeline and the strips need JavaScript; the tables below do not."
    assert not page.locator("#timeline").is_visible()
    page.locator("#captions summary").click()
    assert page.locator("#captions tbody tr").last.is_visible()
    assert page.locator("#captions tbody tr").count() == len(run_database(600).track.captions)
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_accessible(context, tmp_path, scheme):
    """axe-core finds no violation, in light or dark."""
    page = context.new_page()
    page.emulate_media(color_scheme=scheme)
    opened(page, tmp_path, 600)
    if scheme == "light":
        keep(page, "report", whole=True)
    assert violations(page) == []


def test_a_film_without_captions_says_so(page, tmp_path):
    """If no caption begins or ends, the report says so."""
    opened(page, tmp_path, 12)
    assert "No caption begins or ends" in page.locator("#choice").inner_text()
    assert "Nothing: every boundary" in page.locator("main").inner_text()
