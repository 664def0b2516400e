"""What ``extents demo`` prints about a run, and its exit status, for every outcome. The runs are invented."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.developing import demo
from cli.developing.demo_check import Row
from cli.developing.demo_run import DemoRun
from core.types import Anchor
from inference.media.encode import CropBox
from streams.kafka.client import ReceivedOutcome
from tools.sample_film import Sample, SampleCaption

CAPTIONS = (SampleCaption(3, 20, "first\nin two lines"), SampleCaption(30, 41, "second"))
COMPLETED = {
    "run_id": "6b1c",
    "attempt": 1,
    "deduplicated": False,
    "model_version": "m",
    "caption_count": 2,
    "pairs": 49,
    "label_counts": {"same": 45, "empty_valid": 2, "valid_empty": 2},
    "total_seconds": 3.0,
    "queue_seconds": 1.0,
    "gpu_seconds": 0.5,
    "estimated_cost_usd": 0.0001,
    "storage_key": "a/b.db",
    "size_bytes": 1000,
}
ROWS = (Row("runs", "run 6b1c, 49 pairs", good=True), Row("jobs", "completed, 49/49 pairs", good=True))


def completed(*extents: tuple[int, int], rows: tuple[Row, ...] = ROWS) -> DemoRun:
    """Make a run with these captions."""
    captions = [SimpleNamespace(first_frame=first, last_frame=last) for first, last in extents]
    return DemoRun(ReceivedOutcome("inference.completed", COMPLETED, {}), rows, SimpleNamespace(track=SimpleNamespace(captions=captions)))


@pytest.fixture
def demonstrate(extents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs the command in its own folder, with a given outcome."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "STACKS", tmp_path / "stacks")
    monkeypatch.setattr(demo, "can_read", lambda: False)  # the same output whether the extra `text` is installed or not

    def run(outcome: DemoRun):
        sample = Sample(tmp_path / "film.mp4", CropBox(0, 0, 10, 10), Anchor.CENTER, 50, CAPTIONS)
        monkeypatch.setattr(demo, "make_sample", lambda path: sample)
        monkeypatch.setattr(demo, "owned", lambda *_, **__: nullcontext(SimpleNamespace(keep_logs=lambda: tmp_path / "logs")))
        monkeypatch.setattr(demo, "run_demo", lambda *_: outcome)
        return extents("demo")

    return run


def test_all_is_well(demonstrate) -> None:
    """The output compares captions with the truth, shows rows and the run database, and suggests the next commands; the status is 0."""
    done = demonstrate(completed((3, 20), (30, 41)))
    assert done.status == 0, done.err
    for text in (
        "2 of 2 exact",
        "first / in two lines",
        "run 6b1c, 49 pairs",
        "a/b.db (1.0 kB)",
        "extents show demo/run.db",
        "worker gpu &",
    ):
        assert text in done.out
    assert "everything is correct" in done.err


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (completed((3, 20), (30, 40)), "1 of 2 exact"),
        (completed((3, 20)), "1 of 2 exact"),
        (completed((3, 20), (30, 41), (45, 48)), "2 of 3 exact"),
        (completed((3, 20), (30, 41), rows=(Row("runs", "missing", good=False),)), "missing: NOT what inference.completed says"),
    ],
    ids=["a frame off", "one not found", "one too many", "no row"],
)
def test_something_is_wrong(demonstrate, tmp_path: Path, run: DemoRun, text: str) -> None:
    """If anything is wrong, the output shows it and where the logs are; the status is 1."""
    done = demonstrate(run)
    assert done.status == 1
    assert text in done.out
    assert "something is WRONG" in done.err
    assert f"the logs are kept in {tmp_path / 'logs'}" in done.err


def test_a_run_that_failed(demonstrate) -> None:
    """A failed run ends with status 1 and its reason, without suggesting further commands."""
    done = demonstrate(
        DemoRun(ReceivedOutcome("inference.failed", {"outcome": "failed", "run_id": "6b1c", "reason": "chunk 3 is broken"}, {}))
    )
    assert done.status == 1
    assert "chunk 3 is broken" in done.out
    assert "What to try next" not in done.out
    assert "something is WRONG" in done.err
