"""The report of a run as a document: content, limits and size."""

import base64
import json
import re
import zlib

import numpy as np

from core.labels import REVERSED
from pages.report.attention import DOUBTFUL, boundaries, rank, worst_boundaries
from pages.report.page import render_report
from pages.report.payload import Filmstrip, payload
from storage.run_db import build_run_db
from storage.run_db_reader import read_run_db
from tests.pages.runs import run_database
from tests.storage.finished_runs import fixed_run

MAX_BYTES = 2_000_000


def test_an_hour_of_film_fits_into_two_megabytes():
    """A report of 36,000 pairs is at most 2 MB, even if every prediction is random and cannot be compressed."""
    assert len(render_report(run_database(36_000)).encode()) < MAX_BYTES / 6
    guesses = read_run_db(build_run_db(fixed_run(36_000)), "run.db")
    assert len(render_report(guesses).encode()) < MAX_BYTES


def test_the_report_loads_nothing():
    """The document refers to no other file or host, and its policy lets the browser load none."""
    report = render_report(run_database(500))
    assert re.findall(r'\b(?<!-)(?:src|href|action)\s*=\s*"(?!data:)', report) == []
    assert re.findall(r"https?://|@import|url\(", report) == []
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', report)
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;; img-src data:;")
    assert "unsafe" not in policy[1]


def test_the_script_gets_the_probabilities_that_the_run_holds():
    """The timeline gets the database's probabilities within half a step, with the backward labels reversed."""
    run = run_database(300)
    data = payload(run, [], [])
    packed = np.frombuffer(zlib.decompress(base64.b64decode(data["probabilities"])), np.uint8).reshape(-1, 2, 5) / 255
    np.testing.assert_allclose(packed[:, 0], run.probabilities[:, 0], atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(packed[:, 1], run.probabilities[:, 1][:, REVERSED], atol=0.5 / 255 + 1e-6)
    used = np.frombuffer(zlib.decompress(base64.b64decode(data["used"])), np.uint8)
    np.testing.assert_array_equal(used, run.track.labels)
    assert len(data["captions"]) == len(run.track.captions)


def test_every_caption_is_in_the_table_without_a_script():
    """The document itself has a row for each caption, so that a browser without JavaScript shows them all."""
    run = run_database(600)
    table = re.search(r'id="captions">.*?<tbody>(.*?)</tbody>', render_report(run), re.DOTALL)
    assert table is not None
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in table[1].split("<tr>")[1:]]
    assert [row[4] for row in rows] == [f"{caption.first_frame}–{caption.last_frame}" for caption in run.track.captions]
    assert {len(row) for row in rows} == {7}


def test_the_least_certain_comes_first():
    """The list holds every doubtful boundary and every issue, ascending by confidence."""
    run = run_database(3_000)
    ranked = rank(run)
    assert [item.score for item in ranked] == sorted(item.score for item in ranked)
    forward = run.probabilities[:, 0]
    for pair in boundaries(run.track):
        if forward[pair, run.track.labels[pair]] < DOUBTFUL:
            assert pair in {item.pair for item in ranked}
    conflicts = {issue.frame_index for issue in run.track.issues if issue.kind == "direction_conflict"}
    assert conflicts <= {item.pair for item in ranked}
    assert worst_boundaries(run, 5) == [item.pair for item in ranked][:5]


def test_strips_are_shown_for_sure_boundaries_when_there_are_no_doubtful_ones():
    """A film without doubtful boundaries still gets the requested number of filmstrips, if it has as many boundaries."""
    run = run_database(200)
    assert len(worst_boundaries(run, 1_000)) == len({*boundaries(run.track), *(item.pair for item in rank(run))})


def test_no_value_of_a_run_becomes_markup():
    """A model version, a path and a provenance entry are text, whatever they contain."""
    hostile = "</script><img src=x onerror=alert(1)>"
    data = build_run_db(fixed_run(20, model_checkpoint_path=hostile, provenance={"note": hostile}))
    report = render_report(read_run_db(data, "run.db"), [], hostile)
    assert hostile not in report
    assert report.count("<script") == report.count("</script>") == 2


def test_filmstrips_are_embedded():
    """A given image is embedded in the document as a data URI, under its pair."""
    report = render_report(run_database(50), [Filmstrip(14, 13, [b"one", b"two", b"three"])])
    data = json.loads(re.search(r'id="data">(.*?)</script>', report)[1])
    assert data["filmstrips"]["14"]["images"][0] == "data:image/jpeg;base64," + base64.b64encode(b"one").decode()
    assert data["filmstrips"]["14"]["first_frame"] == 13
