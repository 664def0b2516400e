"""``extents demo``: the main job, from a film to its run database, over real servers on this machine."""

import asyncio
import os
import shutil
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import click

from cli.caption_table import captions_as_json
from cli.demo_check import Finding, compare, print_comparison, row_facts
from cli.dev import create_topics
from cli.encode_targets import encode_to_store
from cli.following import follow
from cli.output import print_facts, print_heading, print_json, progress, remark
from cli.parameters import json_option
from cli.submit import outcome_facts
from core.settings import Settings
from devstack.paths import stack_folder
from devstack.stack import OwnedStack, owned
from devstack.workers import worker
from inference.sample import Sample, make_sample
from storage.connect import open_rows, open_store
from storage.run_db import MAX_RUN_DB_BYTES, RunDatabase, read_run_db
from streams.client import Outcome, Outcomes, publish
from streams.records import VideoEncoded
from streams.topics import Topics

TIMEOUT_SECONDS = 600.0
"""Far above what a minute of film takes on two busy cores; a demo that hangs must end."""


@dataclass(frozen=True, slots=True)
class _Result:
    outcome: Outcome | None
    rows: list[tuple[str, str]]
    database: RunDatabase | None


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Where film and run DB are left.",
)
@click.option("--keep-stack", is_flag=True, help="Keep the stack's data and logs in .stack/demo.")
@json_option
def command(out: Path, keep_stack: bool, as_json: bool) -> None:
    """Run the main job on this machine: make a captioned film, encode it, run it through the service, check what was found.

    Starts Apache Kafka, an S3 server, PostgreSQL and PostgREST for itself, and a coordinator and a GPU worker as
    processes of their own; all of them end with the command, whatever ends it. Exit status 1 when anything is not as it
    should be.

    \b
      extents demo
      extents demo --json | jq .captions
    """
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    _say(started, "making a minute of captioned film")
    sample = make_sample(out / "film.mp4")
    _say(started, f"{sample.path}: {sample.frame_count / 10:.0f} s, {len(sample.captions)} captions; starting the stack")
    folder = stack_folder("demo")
    shutil.rmtree(folder, ignore_errors=True)
    with owned(folder, throwaway=not keep_stack, progress=lambda text: _say(started, text)) as stack:
        result = asyncio.run(_run(stack, sample, out, started))
    findings = compare(sample, result.database.track.captions) if result.database else []
    good = result.database is not None and bool(findings) and all(finding.exact for finding in findings)
    if as_json:
        _print_json(result, findings, out, good)
    else:
        _print(result, findings, out, good, time.monotonic() - started)
    sys.exit(0 if good else 1)


async def _run(stack: OwnedStack, sample: Sample, out: Path, started: float) -> _Result:
    os.environ |= stack.env | {"EXTENTS_TOPIC_PREFIX": ""}
    settings = Settings()
    await asyncio.to_thread(create_topics, stack)
    tenant, video = uuid.uuid4(), uuid.uuid4()
    logging = {**stack.env, "EXTENTS_LOG_FORMAT": "text"}
    workers = [worker(role, f"worker-{role}", stack.folder, logging) for role in ("coordinator", "gpu")]
    try:
        _say(started, "encoding the film into the store; starting a coordinator and a GPU worker")
        starting = asyncio.gather(*(part.start() for part in workers))
        with progress("encoding", "frames") as report:
            encoding = asyncio.to_thread(encode_to_store, sample.path, sample.crop, sample.anchor, settings, tenant, video, 1, report)
            target, _ = await asyncio.gather(encoding, starting)
        _say(started, f"{target.chunks} chunks in the store, both workers ready; publishing video.encoded")
        async with Outcomes(settings.kafka, Topics(settings.topics)) as outcomes, open_rows(settings.supabase) as rows:
            event = VideoEncoded(
                tenant_id=tenant, video_id=video, cropped_frames_version=1, frame_count=target.frame_count, event_id="demo"
            )
            published = await publish(settings.kafka, Topics(settings.topics), event)
            followed = await follow(outcomes, rows, published.request_id, TIMEOUT_SECONDS)
            outcome = followed.outcome
            if outcome is None or outcome.name != "inference.completed":
                for part in workers:
                    remark(part.tail())
                return _Result(outcome, [], None)
            _say(started, "inference.completed")
            facts = await row_facts(rows, outcome)
        async with open_store(settings.wasabi) as store:
            data = await store.get(outcome.body["storage_key"], MAX_RUN_DB_BYTES)
        (out / "run.db").write_bytes(data)
        return _Result(outcome, facts, read_run_db(data, outcome.body["storage_key"]))
    finally:
        await asyncio.gather(*(part.stop() for part in workers))


def _say(started: float, text: str) -> None:
    remark(f"{time.monotonic() - started:5.1f} s  {text}")


def _print(result: _Result, findings: list[Finding], out: Path, good: bool, seconds: float) -> None:
    if result.outcome is None:
        remark(f"no outcome within {TIMEOUT_SECONDS:.0f} s")
        return
    print_heading("The run")
    print_facts(outcome_facts(result.outcome))
    if result.database is None:
        return
    print_heading("Captions found, against the truth")
    print_comparison(findings)
    print_heading("Rows in Supabase")
    print_facts(result.rows)
    exact = sum(finding.exact for finding in findings)
    print_heading(
        f"{exact} of {len(findings)} captions exact; {seconds:.0f} s in all"
        if not good
        else f"All {exact} captions exact; {seconds:.0f} s in all"
    )
    print_facts(
        [
            ("film", str(out / "film.mp4")),
            ("run DB", str(out / "run.db")),
            ("look into it", f"extents show {out / 'run.db'}"),
            ("your own film", "extents find FILM --crop LEFT,TOP,RIGHT,BOTTOM --srt"),
            ("the service", "extents dev up; extents worker coordinator; extents worker gpu; extents submit --help"),
        ]
    )


def _print_json(result: _Result, findings: list[Finding], out: Path, good: bool) -> None:
    print_json(
        {
            "good": good,
            "event": result.outcome.body if result.outcome else None,
            "captions": captions_as_json(result.database.track.captions) if result.database else [],
            "comparison": [finding.as_json() for finding in findings],
            "run_db": str(out / "run.db") if result.database else None,
        }
    )
