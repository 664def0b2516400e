"""The scale, the random choices, the stack and the report of chaos scenarios.

``pytest --chaos SEED`` runs them in full on three brokers; without it they are short, on one broker.
"""

import os
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from devstack import stack as devstack
from tests.chaos.figures import Report, table, write
from tests.chaos.fleet import Fleet
from tests.chaos.load import SIZES, Load
from tests.chaos.scale import Chaos, Scale
from tests.service.installation import Installation, installed

FULL_SECONDS = 1500
"""No scenario takes this long; a hung one must end nevertheless."""

SETTINGS = {"EXTENTS_QUEUE_LIMIT_TENANT": "100000", "EXTENTS_MAX_HIGH_JOBS_PER_HOUR_TENANT": "100000", "EXTENTS_RATE_LIMIT_SECONDS": "0"}

_REPORTS = pytest.StashKey[dict[str, Report]]()


@pytest.fixture(scope="session")
def scale(pytestconfig: pytest.Config) -> Scale:
    return _scale(pytestconfig)


@pytest.fixture
def chaos(scale: Scale, request: pytest.FixtureRequest) -> Chaos:
    """The scale, with random choices that belong to this test and do not depend on which other tests run."""
    return Chaos(scale.seed, scale.full, random.Random(f"{scale.seed}/{request.node.name}"))


@pytest.fixture
def report(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Iterator[Report]:
    """Collects the figures of a scenario for the table at the end."""
    figures = pytestconfig.stash.setdefault(_REPORTS, {})[request.node.nodeid] = Report()
    began = time.monotonic()
    yield figures
    figures.note(seconds=round(time.monotonic() - began, 1))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[devstack.OwnedStack]:
    """A stack of three brokers: every record is on all of them, and two must confirm it."""
    with devstack.owned(tmp_path_factory.mktemp("cluster"), brokers=3) as running:
        yield running


@pytest.fixture(scope="module")
def platform(scale: Scale, request: pytest.FixtureRequest) -> devstack.OwnedStack:
    """The stack that a module's installation runs on; a module that needs three brokers at any scale returns ``cluster``."""
    running: devstack.OwnedStack = request.getfixturevalue("cluster" if scale.full else "stack")
    return running


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Settings of a module's workers, in addition to those of all workers."""
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(platform, settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """A module's own topics and bucket; no process is running yet."""
    async with installed(platform, {**SETTINGS, **settings}, tmp_path_factory.mktemp("workers")) as installation:
        yield installation


@pytest.fixture(scope="session")
def _known_results() -> dict[int, bytes]:
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def undisturbed(service: Installation, _known_results: dict[int, bytes]) -> Mapping[int, bytes]:
    """Probabilities of undisturbed runs of the load's videos, by their frames; computed once for all modules."""
    if not _known_results:
        async with Fleet(service) as fleet, Load(service, random.Random(0)) as load:
            fleet.start("coordinator"), fleet.start("gpu")
            submitted = await load.publish(SIZES)
            evidence = await service.verify_at_rest()
            for role, workers in fleet.workers.items():
                await fleet.stop(role, workers)
        runs = {item.frame_count: evidence.outcomes[str(item.published.request_id)].body["run_id"] for item in submitted}
        _known_results.update({frames: evidence.runs[run_id].probabilities.tobytes() for frames, run_id in runs.items()})
    return _known_results


def pytest_configure(config: pytest.Config) -> None:
    if _scale(config).full:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # several workers share the cores, and more torch threads than cores only wait


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not _scale(config).full:
        return
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(FULL_SECONDS))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports = config.stash.get(_REPORTS, {})
    if not reports:
        return
    broken = {result.nodeid for kind in ("failed", "error") for result in terminalreporter.stats.get(kind, [])}
    scale = _scale(config)
    terminalreporter.section(f"chaos, {'in full' if scale.full else 'short'}, seed {scale.seed}")
    for line in table(reports, broken):
        terminalreporter.write_line(line)
    if scale.full:
        terminalreporter.write_line(f"written to {write(config.rootpath, scale.seed, reports, broken)}")


def _scale(config: pytest.Config) -> Scale:
    seed = config.getoption("--chaos")
    return Scale(seed=1, full=False) if seed is None else Scale(seed=seed, full=True)
