"""Carries out the runbook: every command of docs/operations.md prints what the page shows, apart from ids, times and numbers.

With ``UPDATE_SNAPSHOTS`` set, outputs whose shape differs are written into the page instead.
"""

import asyncio
import difflib
import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient
from psycopg import sql
from safetensors.torch import save

from devstack import stack as devstack
from inference.engine.device import describe_device
from inference.models.builtin import builtin_checkpoint_path
from inference.models.checkpoint import read_checkpoint
from streams.kafka.connection import client_options
from tests.cli.processes import TIMEOUT_SECONDS, clean_environment, command
from tests.cli.test_evaluate_command import write_srt
from tests.cli.test_predict_command import captions_of
from tests.service.installation import Installation
from tests.service.runbook import PAGE, Step, as_shown, masked, rewritten, steps, with_names
from tests.service.terminal import Terminal
from tests.service.videos import VERSION, Video

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILM: Final = Path(__file__).parents[1] / "data" / "conformance" / "tile-right"
FRAMES: Final = 24
BROKEN: Final = "modulo_1/chunk_0000000001.webm"
TABLES: Final = ("runs", "run_history", "jobs", "rejections", "requests", "replay_items", "replays", "model_promotions", "purges")

REJECTED: Final = "3f2b8c1e-0d4a-4c57-9a61-7b1f0c2d9e55"
REJECTION: Final = "9a617b1f-5c0d-4e7a-8f3b-2d9e550c4a57"
FAILED: Final = "c81e4f6b-2a97-4d05-b3e8-60f7d9a15c32"
BEFORE, AFTER = "b7f0c2d9", "4e7a8f3b"
TENANT, VIDEO = "1d6e0b3a-94c7-4f52-8e0d-a7b35c60f219", "e336c032-2c7e-44bb-8d68-b0ac3ab04c91"
"""Ids on the page: a rejected video and its rejection, a failed video, two compared runs, a tenant and its video."""

DEVICE: Final = "AMD EPYC, 2 threads"
"""What the page shows in place of this machine's names."""

STATUSES: Final[Mapping[str, int]] = {"extents topics check": 1}
"""The exit statuses of commands that do not end with 0."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[devstack.OwnedStack]:
    """Start a stack that no other test uses, because some outputs cover everything in it."""
    with devstack.owned(tmp_path_factory.mktemp("runbook")) as running:
        yield running


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"EXTENTS_RATE_LIMIT_SECONDS": "0", "EXTENTS_TOPIC_PREFIX": ""}


@dataclass(slots=True)
class Stage:
    """The installation on which the runbook is carried out.

    Attributes:
        names: the values that the page's examples stand for.
    """

    service: Installation
    folder: Path
    names: dict[str, str] = field(default_factory=dict)

    @property
    def terminal(self) -> Terminal:
        return Terminal(self.service, self.folder)

    async def run(self, step: Step) -> str:
        """Run a step in a terminal of 100 columns, answer its question with yes, and return what the terminal shows."""
        arguments = shlex.split(with_names(step.command, self.names))[1:]
        environment = {**self.service.processes.environment, "COLUMNS": "100"}
        done = await asyncio.to_thread(
            subprocess.run,
            command(*arguments),
            cwd=self.folder,
            env=clean_environment(environment),
            input="y\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
        assert done.returncode == STATUSES.get(step.command, 0), f"{step.command}: status {done.returncode}\n{done.stdout}"
        return as_shown(done.stdout)


def film() -> Video:
    """Return a clip with a caption."""
    frames = FILM / "cropped_frames_v1"
    chunks = {path.relative_to(frames).as_posix(): path.read_bytes() for path in frames.glob("*/*.webm")}
    return Video(FRAMES, chunks, (FILM / "layout.db").read_bytes())


async def a_busy_day(stage: Stage) -> None:
    """Three videos are rejected by a limit that is too low, three are completed, and one fails."""
    service = stage.service
    careful = service.processes.start("coordinator", EXTENTS_MAX_FRAME_COUNT=str(FRAMES - 1))
    service.processes.start("gpu")
    for _ in range(3):
        published, outcome = await service.run(film())
    stage.names |= {REJECTED: outcome.body["video_id"], REJECTION: str(published.request_id), TENANT: str(service.tenant_id)}
    await careful.stopped()
    service.processes.start("coordinator")
    for _ in range(3):
        _, outcome = await service.run(film())
    stage.names[VIDEO] = outcome.body["video_id"]
    broken = await service.add(film().with_chunk(BROKEN, b"this is no film"))
    await service.ledger.outcome(await service.submit(broken, FRAMES))
    stage.names[FAILED] = str(broken)
    await service.verify_at_rest()


async def the_chunk_is_whole(stage: Stage) -> None:
    """The broken chunk is uploaded again."""
    service = stage.service
    key = service.keys.chunk(service.tenant_id, UUID(stage.names[FAILED]), VERSION, BROKEN)
    await service.store.put(key, film().chunks[BROKEN])


async def all_is_done(stage: Stage) -> None:
    await stage.service.settle()


async def the_limit_is_corrected(stage: Stage) -> None:
    """The replay of the rejected videos has ended."""
    await stage.terminal.until("limit", "completed")
    await stage.service.settle()


async def new_weights(stage: Stage) -> None:
    """A file of weights, and a film with subtitles to evaluate them on."""
    checkpoint = read_checkpoint(builtin_checkpoint_path())
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.state.items()}
    metadata = {"architecture_name": "siamese_strip", "config": "{}", "note": "of another day"}
    (stage.folder / "weights.safetensors").write_bytes(save(tensors, metadata))
    shutil.copytree(FILM, stage.folder / "film")
    write_srt(stage.folder / "film.srt", captions_of(FILM))


async def the_sample_is_compared(stage: Stage) -> None:
    """The replay with the new model has ended; two runs of one video are chosen for the comparison."""
    await stage.terminal.until("new-model", "completed")
    await stage.service.settle()
    runs = await stage.terminal.json("runs", "list", "--video", stage.names[VIDEO])
    stage.names |= {AFTER: runs[0]["run_id"][:8], BEFORE: runs[-1]["run_id"][:8]}


async def a_run_is_superseded(stage: Stage) -> None:
    """A video gets a forced second run."""
    service = stage.service
    await service.ledger.outcome(await service.submit(UUID(stage.names[VIDEO]), FRAMES, force=True))
    await service.settle()


async def the_database_is_lost(stage: Stage) -> None:
    """Every row is gone, as in a new database after the migrations."""
    async with await psycopg.AsyncConnection.connect(stage.service.verifier.dsn, autocommit=True) as connection:
        names = [sql.Identifier(stage.service.verifier.schema, f"caption_frame_extents_inference_{table}") for table in TABLES]
        await connection.execute(sql.SQL("truncate {}").format(sql.SQL(", ").join(names)))


async def a_topic_is_lost(stage: Stage) -> None:
    """The workers are stopped, and a topic is deleted."""
    for worker in stage.service.processes.workers:
        if worker.status is None:
            await worker.stopped()
    admin = AIOKafkaAdminClient(**client_options(stage.service.kafka))
    await admin.start()
    try:
        await admin.delete_topics([stage.service.topics.cancelled])
    finally:
        await admin.close()


SCENES: Final[Mapping[str, Callable[[Stage], Awaitable[None]]]] = {
    "extents status": a_busy_day,
    "extents dead-letters redrive 0/0": the_chunk_is_whole,
    "extents rejections summary --days 2": all_is_done,
    "extents replay status limit": the_limit_is_corrected,
    "extents evaluate film --truth film.srt --checkpoint builtin --checkpoint weights.safetensors": new_weights,
    "extents replay status new-model": the_sample_is_compared,
    "extents cleanup --superseded": a_run_is_superseded,
    "extents rebuild-registry --dry-run": the_database_is_lost,
    "extents topics check": a_topic_is_lost,
}
"""What happens before some commands of the page."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(service: Installation, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(service, tmp_path_factory.mktemp("desk"))


async def test_every_command_prints_what_the_page_shows(stage: Stage) -> None:
    """All commands print what the page shows, in its order, on one installation whose state changes between them."""
    text = PAGE.read_text()
    shown: list[tuple[Step, str]] = []
    for step in steps(text):
        if step.command in SCENES:
            await SCENES[step.command](stage)
        output = await stage.run(step)
        back = {actual: example for example, actual in stage.names.items()}
        shown.append((step, with_names(output, {**back, socket.gethostname() + ":": "gpu-1:", describe_device("cpu"): DEVICE})))
    assert set(SCENES) <= {step.command for step, _ in shown}
    different = [(step, output) for step, output in shown if masked(step.output) != masked(output)]
    if os.environ.get("UPDATE_SNAPSHOTS"):
        PAGE.write_text(rewritten(text, different))
        return
    assert not different, "\n\n".join(
        "\n".join([step.command, *difflib.ndiff(masked(step.output).splitlines(), masked(output).splitlines())])
        for step, output in different
    )
