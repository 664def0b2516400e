"""What operators do on the live page: each action works, is audited, and is refused to viewers and to other sites."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

from playwright.sync_api import expect

from tests.pages.served import OPERATOR, VIEWER, WAIT_MS, Served, extents, form_token, log_in, values_of

ACTIONS = (
    "rejections/{rejected}/acknowledge",
    "letters/0/0/redrive",
    "letters/0/0/discard",
    "replays/untouched/pause",
    "replays/untouched/resume",
    "replays/untouched/cancel",
)


def paths(served: Served) -> list[str]:
    return [f"{served.url}/{path.format(rejected=served.rejected)}" for path in ACTIONS]


def test_a_viewer_may_not_act(page, served):
    """Every action with a viewer's session, or with a form of another session, is refused, and the audit table stays empty."""
    log_in(page, served, VIEWER)
    for path in paths(served):
        for token, message in ((form_token(page), "You may look, but not act"), ("0" * 64, "comes from another site")):
            answer = page.request.post(path, form={"form_token": token})
            assert answer.status == 403, path
            assert message in answer.text()
    assert served.actions("untouched") == served.actions("0/0") == []


def test_another_site_cannot_act(context, served):
    """A form on another site changes nothing, even if it knows the form token of a logged-in operator."""
    page = context.new_page()
    log_in(page, served, OPERATOR)
    token = form_token(page)
    for path in (*paths(served), f"{served.url}/login"):
        page.goto(f"data:text/html,<form method=post action='{path}'><input name=form_token value={token}><button>Win</button></form>")
        with page.expect_response(path) as answer:
            page.get_by_role("button", name="Win").click()
        assert answer.value.status == 403, path
    assert served.actions("untouched") == served.actions("0/0") == []
    assert served.ask("select state from {}replays where replay_id = 'untouched'") == [("running",)]


def test_an_operator_acknowledges_a_rejection(page, served):
    """An acknowledged rejection leaves the list, the audit table records who did it, and repeating the action changes nothing."""
    log_in(page, served, OPERATOR, "Ada")
    button = page.locator(f"#rejections-{served.rejected}-acknowledge")
    expect(button).to_be_visible(timeout=WAIT_MS)
    button.click()
    expect(button).to_have_count(0, timeout=WAIT_MS)
    form = {"form_token": form_token(page)}
    assert page.request.post(f"{served.url}/rejections/{served.rejected}/acknowledge", form=form).ok
    assert served.ask("select acknowledged from {}rejections where id = %s", served.rejected) == [(True,)]
    assert served.actions(served.rejected) == [("operator", "Ada", "rejection.acknowledged")]


def test_an_operator_redrives_and_discards_letters(page, served):
    """After a confirmation, a letter's record is sent again or the letter is discarded; either leaves the list and is audited."""
    log_in(page, served, OPERATOR, "Ada")
    for number, (verb, done_to_it) in ((1, ("redrive", "redriven")), (2, ("discard", "discarded"))):
        button = page.locator(f"#letters-0-{number}-{verb}")
        expect(button).to_be_visible(timeout=WAIT_MS)
        page.once("dialog", lambda dialog: dialog.dismiss())
        button.click()
        expect(button).to_be_visible()
        page.once("dialog", lambda dialog: dialog.accept())
        button.click()
        expect(button).to_have_count(0, timeout=WAIT_MS)
        assert served.actions(f"0/{number}") == [("operator", "Ada", f"letter.{done_to_it}")]
        again = page.request.post(f"{served.url}/letters/0/{number}/{verb}", form={"form_token": form_token(page)})
        assert again.status == 404
        assert "has already been handled" in again.text()
    letters = json.loads(extents(served, "dead-letters", "list", "--handled", "--json"))
    assert [letter["handled"] for letter in letters] == [None, "redriven", "discarded"]
    topic = f"{served.env['EXTENTS_TOPIC_PREFIX']}video.encoded"
    with ThreadPoolExecutor(1) as thread:  # Playwright keeps an event loop in this one
        assert thread.submit(lambda: asyncio.run(values_of(served, topic))).result() == [b"letter 1"]


def test_an_operator_pauses_resumes_and_cancels_a_replay(page, served):
    """Each control changes the replay's state and is audited; resuming accepts a new budget; impossible actions are refused."""

    def state() -> tuple:
        return served.ask("select state, max_cost_usd from {}replays where replay_id = 'nightly'")[0]

    log_in(page, served, OPERATOR, "Ada")
    page.locator("#replays-nightly-pause").click()
    expect(page).to_have_url(f"{served.url}/replays/nightly", timeout=WAIT_MS)
    assert state() == ("paused", 5)
    assert "paused on the live page by Ada" in page.locator("main").inner_text()
    assert page.request.post(f"{served.url}/replays/nightly/pause", form={"form_token": form_token(page)}).status == 409
    wrong = page.request.post(f"{served.url}/replays/nightly/resume", form={"form_token": form_token(page), "max_cost_usd": "-3"})
    assert wrong.status == 409
    assert "expected a number above 0" in wrong.text()
    page.get_by_label("New budget").fill("12.5")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible(timeout=WAIT_MS)
    assert state() == ("running", 12.5)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("main")).to_contain_text("cancelled on the live page by Ada", timeout=WAIT_MS)
    assert state() == ("cancelled", 12.5)
    assert [action for _, _, action in served.actions("nightly")] == ["replay.paused", "replay.resumed", "replay.cancelled"]
