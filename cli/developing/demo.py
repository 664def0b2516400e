"""``extents demo``: runs the service on this machine, from a film to its run database."""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from cli.developing.demo_check import Finding, compare, print_comparison
from cli.developing.demo_run import DemoRun, Viewing, run_demo
from cli.developing.demo_ui import DemoPage
from cli.developing.demo_words import Words, can_read, print_words, read_words
from cli.film.runs.caption_table import captions_as_json
from cli.service.submit import outcome_facts
from cli.shared.output import print_facts, print_heading, print_json, program, remark
from cli.shared.parameters import json_option
from core.files import make_parent
from core.types import FRAMES_PER_SECOND
from devstack.part import REPORT_SECONDS
from devstack.paths import STACKS, make_folder, stack_folder
from devstack.stack import ENV_FILE, owned
from devstack.supervisor_client import StackError
from tools.sample_film import Sample, make_sample


@click.command(
    epilog="""\b
Examples:
  extents demo
  extents demo --ui
  extents demo --out somewhere --json | jq .comparison
\b
Exit status 1 if anything is wrong, such as an inexact caption or a missing row or object. The logs are kept in that case.
\b
Settings: EXTENTS_DEVICE, EXTENTS_BATCH_SIZE and others of the GPU worker."""
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    default=Path("demo"),
    show_default=True,
    help="Folder for the film and its run database.",
)
@click.option("--keep-stack", is_flag=True, help="Keep the servers' data and logs; extents dev up --name demo starts them again.")
@click.option("--ui", "with_page", is_flag=True, help="Serve the live page during the demo, and leave it open until Ctrl-C.")
@json_option
def command(out: Path, keep_stack: bool, with_page: bool, as_json: bool) -> None:
    """Make a captioned film, run it through the service on this machine, and check what it finds.

    Starts Apache Kafka, an S3 server, PostgreSQL, PostgREST, a coordinator and a GPU worker. All of them stop when the
    command ends, however it ends. After make setup EXTRAS=text, it also reads the captions. With --ui it prints the
    address and the token of the live page once the workers are ready, and gives the page a rejection, a failed run and a
    paused replay to look at.
    """
    began = time.monotonic()
    kept = _kept_folder() if keep_stack else None
    film, run_db = out / "film.mp4", out / "run.db"
    make_parent(film)
    run_db.unlink(missing_ok=True)  # left by an earlier demo
    _say(began, "making a minute of captioned film")
    with _still(began, "making the film"):
        sample = make_sample(film.resolve())
    seconds = sample.frame_count / FRAMES_PER_SECOND
    _say(began, f"{film}: {seconds:.0f} s, {len(sample.captions)} captions; starting the stack")

    def show(run: DemoRun) -> None:
        findings, good = _judge(sample, run)
        words: list[Words] = []
        if run.database and can_read():
            _say(began, "reading the captions' words")
            words = read_words(sample, run.database.track)
        if as_json:
            _print_json(run, findings, words, run_db, good)
        else:
            _print(run, findings, words, film, run_db)
            remark(f"\n{'everything is correct' if good else 'something is WRONG, see above'}; {time.monotonic() - began:.0f} s in total")

    with owned(kept or _own_folder(), throwaway=not keep_stack, progress=lambda text: _say(began, text)) as stack:
        viewing = Viewing(DemoPage(), show) if with_page else None
        run = run_demo(stack, sample, run_db.resolve(), lambda text: _say(began, text), viewing)
        _, good = _judge(sample, run)
        if not good:
            _say(began, f"the logs are kept in {stack.keep_logs()}")
    if viewing is None or run.database is None:
        show(run)
    sys.exit(0 if good else 1)


def _judge(sample: Sample, run: DemoRun) -> tuple[list[Finding], bool]:
    """Compare the captions with the truth. Return the findings, and whether all captions and rows are right."""
    findings = compare(sample, run.database.track.captions) if run.database else []
    return findings, bool(findings) and all(finding.exact for finding in findings) and all(row.good for row in run.rows)


@contextmanager
def _still(began: float, what: str) -> Iterator[None]:
    """Report regularly that the block is still running, because it can take minutes on a busy machine."""
    done = threading.Event()

    def report() -> None:
        while not done.wait(REPORT_SECONDS):
            _say(began, f"still {what}")

    reporter = threading.Thread(target=report, name="report", daemon=True)
    reporter.start()
    try:
        yield
    finally:
        done.set()
        reporter.join()


def _kept_folder() -> Path:
    """Return the folder for a stack that outlives the demo. The user must delete an earlier one first."""
    folder = stack_folder("demo")
    if folder.exists():
        raise StackError(f"{folder} holds the stack of an earlier demo; delete it first: extents dev down --name demo --purge")
    return folder


def _own_folder() -> Path:
    """Return a new folder for this demo's stack, so that several demos can run at once."""
    return Path(tempfile.mkdtemp(prefix="demo-", dir=make_folder(STACKS)))


def _say(began: float, text: str) -> None:
    remark(f"{time.monotonic() - began:5.1f} s  {text}")


def _print(run: DemoRun, findings: list[Finding], words: list[Words], film: Path, run_db: Path) -> None:
    print_heading("The run")
    print_facts(outcome_facts(run.outcome))
    if run.database is None:
        return
    print_heading("Captions found, against the truth")
    print_comparison(findings)
    click.echo(f"{sum(finding.exact for finding in findings)} of {len(findings)} exact")
    print_heading("Rows in Supabase")
    print_facts([(row.table, row.content if row.good else f"{row.content}: NOT what inference.completed says") for row in run.rows])
    if words:
        print_heading("The words, read from the film")
        print_words(words, findings)
    print_heading("What to try next")
    extents = program()
    print_facts(
        [
            ("film", str(film)),
            ("run database", str(run_db)),
            ("inspect it", f"{extents} show {run_db}"),
            ("your own film", f"{extents} find FILM {'--text' if words else '--srt'}"),
            ("the service", f"{extents} dev up && . {os.path.relpath(stack_folder('dev') / ENV_FILE)}"),
            ("", f"{extents} worker coordinator &"),
            ("", f"EXTENTS_HTTP_PORT=9465 {extents} worker gpu &"),
            ("", f"{extents} submit --help"),
        ]
    )


def _print_json(run: DemoRun, findings: list[Finding], words: list[Words], run_db: Path, good: bool) -> None:
    print_json(
        {
            "good": good,
            "event": {"name": run.outcome.name, "body": run.outcome.body},
            "captions": captions_as_json(run.database.track.captions) if run.database else [],
            "comparison": [finding.as_json() for finding in findings],
            "words": [caption.text for caption in words],
            "rows": [{"table": row.table, "found": row.content, "good": row.good} for row in run.rows],
            "run_db": str(run_db) if run.database else None,
        }
    )
