"""An installation of the service for each module of tests, which share one event loop."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.service.installation import Installation, installed


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Settings of a module's installation, in addition to those that all have."""
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(stack, settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """Topics and bucket of a module's own; no process is running yet."""
    async with installed(stack, settings, tmp_path_factory.mktemp("workers")) as installation:
        yield installation


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(service: Installation) -> Installation:
    """The same with a worker of each kind."""
    service.processes.start("coordinator")
    service.processes.start("gpu")
    return service
