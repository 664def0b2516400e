"""The live page in a browser, served by ``extents ui`` over the embedded stack."""

import asyncio
import json
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
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from playwright.sync_api import BrowserContext, Page, expect

from core.admission import Rejection
from core.runs import StoredRun
from core.settings import KafkaSettings, Settings, TopicSettings
from core.types import RejectionType
from storage.connect import object_keys, open_replays, open_rows, open_store
from storage.run_db_reader import read_run_db
from streams.kafka.connection import client_options
from streams.kafka.topic_admin import ensure_topics
from streams.policy.dead_letters import dead_letter_of
from streams.received import ReceivedRecord
from streams.topics import Topics
from tests.pages.pictures import violations
from tests.pages.runs import run_bytes
from tests.storage.admission_requests import WIDE, request
from tests.storage.finished_runs import finished_run
from tests.streams.run_logs import done, started, taken

VIEWER, OPERATOR = "a-viewers-token", "an-operators-token"
WAIT_MS = 30_000
PAIRS = 1_500


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    completed: UUID
    completed_video: UUID
    running: UUID
    rejected: UUID
    rejected_video: UUID
    dsn: str
    schema: str
    env: dict[str, str]

    def ask(self, query: str, *values: object) -> list[tuple]:
        """Rows of the database; ``{}`` stands for the beginning of a table's name."""
        with psycopg.connect(self.dsn, autocommit=True) as database:
            cursor = database.execute(query.format(f"{self.schema}.caption_frame_extents_inference_"), values)
            return cursor.fetchall() if cursor.description else []

    def actions(self, target: object) -> list[tuple]:
        """What the audit table has about something: role, name, action."""
        return self.ask("select role, name, action from {}page_actions where target = %s order by id", str(target))


@pytest.fixture(scope="module")
def served(stack, tmp_path_factory) -> Iterator[Served]:
    """The page over an installation with a finished run, one in progress, a rejection, dead letters and replays; no worker runs."""
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
            yield Served(url, *ids, stack.dsn, env["SUPABASE_SCHEMA"], env)
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


async def _fill(settings: Settings) -> tuple[UUID, ...]:
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
    await _fill_brokers(settings, topics, running.run_id)
    await _fill_replays(settings)
    return finished.run_id, finished.video_id, running.run_id, refused.request_id, refused.video_id


async def _fill_brokers(settings: Settings, topics: Topics, running: UUID) -> None:
    """The beginning of a run's log, and three dead letters."""
    log = [started(run_id=running), taken(0).model_copy(update={"run_id": running}), done(0, run_id=running)]
    async with AIOKafkaProducer(**client_options(settings.kafka), acks="all") as producer:
        for record in log:
            key, partition = str(running).encode(), topics.results_partition(str(running))
            await producer.send_and_wait(topics.results, record.to_bytes(), key=key, partition=partition)
        for number in range(3):
            record = ReceivedRecord(topics.encoded, 0, number, 0, b"key", b"letter %d" % number, {})
            letter = dead_letter_of(record, "undecodable", f"no JSON in letter {number}")
            await producer.send_and_wait(topics.dead_letter, letter.value, key=letter.key, headers=list(letter.headers.items()))


async def _fill_replays(settings: Settings) -> None:
    async with open_replays(settings.supabase) as replays:
        for name in ("nightly", "untouched"):
            await replays.create(
                {"replay_id": name, "state": "running", "source": {"items": 0}, "model_version": "m", "max_cost_usd": 5}, []
            )


async def values_of(served: Served, topic: str) -> list[bytes]:
    """Every value of a topic."""
    kafka = KafkaSettings(bootstrap_servers=served.env["KAFKA_BOOTSTRAP_SERVERS"])
    async with AIOKafkaConsumer(topic, **client_options(kafka), auto_offset_reset="earliest", enable_auto_commit=False) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        await consumer.seek_to_beginning()
        found = []
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            found += [record.value for records in (await consumer.getmany(timeout_ms=500)).values() for record in records]
        return found


def extents(served: Served, *arguments: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "cli", *arguments]
    return subprocess.run(command, env={**os.environ, **served.env}, check=True, capture_output=True, text=True, timeout=120).stdout


def log_in(page: Page, served: Served, token: str, name: str = "") -> Page:
    page.goto(f"{served.url}/login")
    page.get_by_label("Token").fill(token)
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("html[data-ready=true]", timeout=WAIT_MS)
    return page


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


def test_the_home_page_shows_what_goes_on(page, served):
    """The home page shows progress, outcomes, rejections and charts, and updates without a reload."""
    log_in(page, served, VIEWER)
    expect(page.locator("#connection")).to_have_text("live", timeout=WAIT_MS)
    body = page.locator("main").inner_text()
    assert str(served.running)[:8] in body
    assert str(served.completed)[:8] in body
    assert "at most 200000 are allowed" in body
    assert page.locator(".charts canvas").count() == 3
    assert "$0.0" in page.locator("#part-figures").inner_text()
    assert page.get_by_role("button", name="Acknowledge").count() == 0
    served.ask("update {}jobs set pairs_done = 450 where run_id = %s", str(served.running))
    expect(page.get_by_label(f"Progress of run {str(served.running)[:8]}")).to_have_attribute("value", "450", timeout=WAIT_MS)


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


def form_token(page: Page) -> str:
    return page.locator("input[name=form_token]").first.input_value()


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
    """A form on another site, which even knows the form token of an operator who is logged in, changes nothing."""
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
    """After a question, a letter's record is sent again or the letter is set aside; either leaves the list and is audited."""
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
        assert "somebody has handled it" in again.text()
    letters = json.loads(extents(served, "dead-letters", "list", "--handled", "--json"))
    assert [letter["handled"] for letter in letters] == [None, "redriven", "discarded"]
    topic = f"{served.env['EXTENTS_TOPIC_PREFIX']}video.encoded"
    with ThreadPoolExecutor(1) as thread:  # Playwright keeps an event loop in this one
        assert thread.submit(lambda: asyncio.run(values_of(served, topic))).result() == [b"letter 1"]


def test_an_operator_pauses_resumes_and_cancels_a_replay(page, served):
    """Each control changes the replay's state and is audited; resuming takes a new budget; what does not fit the state is refused."""

    def state() -> tuple:
        return served.ask("select state, max_cost_usd from {}replays where replay_id = 'nightly'")[0]

    log_in(page, served, OPERATOR, "Ada")
    page.locator("#replays-nightly-pause").click()
    expect(page).to_have_url(f"{served.url}/replays/nightly", timeout=WAIT_MS)
    assert state() == ("paused", 5)
    assert "paused on the live page by Ada" in page.locator("main").inner_text()
    assert page.request.post(f"{served.url}/replays/nightly/pause", form={"form_token": form_token(page)}).status == 409
    page.get_by_label("New budget").fill("-3")
    page.get_by_role("button", name="Resume").click()
    assert "expected a number above 0" in page.locator("main").inner_text()
    page.goto(f"{served.url}/replays/nightly")
    page.get_by_label("New budget").fill("12.5")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible(timeout=WAIT_MS)
    assert state() == ("running", 12.5)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("main")).to_contain_text("cancelled on the live page by Ada", timeout=WAIT_MS)
    assert state() == ("cancelled", 12.5)
    assert [action for _, _, action in served.actions("nightly")] == ["replay.paused", "replay.resumed", "replay.cancelled"]


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
    """What happened to the run, and of each span its state, worker, tries and seconds, from the run's log."""
    log_in(page, served, VIEWER)
    page.goto(f"{served.url}/runs/{served.running}")
    assert "run started" in page.locator("table.history").inner_text()
    rows = [row.inner_text().split() for row in page.locator("table.spans tbody tr").all()]
    assert [row[:2] for row in rows] == [["0", "done"], ["1", "waiting"], ["2", "waiting"]]
    assert {"w:1", "cpu", "1.5", "0.5"} <= set(rows[0])
    assert page.locator("svg.spanbar rect.done").count() == 1


def test_the_object_of_a_run_can_be_kept(page, served):
    """The link to the object gives its very bytes."""
    log_in(page, served, VIEWER)
    answer = page.request.get(f"{served.url}/runs/{served.completed}/run.db")
    assert answer.body() == run_bytes(PAIRS)


def test_a_video_shows_what_why_says(page, served):
    """The page of a video and ``extents why`` show the same facts and the same sentence."""
    log_in(page, served, VIEWER)
    for video in (served.completed_video, served.rejected_video):
        page.goto(f"{served.url}/search?q={video}")
        assert page.url == f"{served.url}/videos/{video}"
        told = json.loads(extents(served, "why", str(video), "--json"))
        assert page.locator(".answer").inner_text() == told["why"]
        shown = [row.locator("td").all_inner_texts()[1:] for row in page.locator("table.history tbody tr").all()]
        assert shown == [[moment["what"], moment["detail"]] for moment in told["moments"]]


def test_a_tenant_and_what_is_unknown(page, served):
    """A tenant's page lists its runs and rejections; what is not there is said in words."""
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
