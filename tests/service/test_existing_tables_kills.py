"""A coordinator is killed at each of its steps, on a database that already had the web application's tables and rows of several years."""

import pytest

from tests.service.installation import Installation
from tests.service.test_killed_coordinator import (  # noqa: F401 - run here, too
    predicting,
    test_a_result_whose_state_alone_was_stored,
    test_after_a_request_has_joined,
    test_data_deleted_while_admitting,
    test_while_admitting,
    test_while_aggregating_or_finishing,
    test_while_failing,
    undisturbed,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings(existing_schema: str) -> dict[str, str]:
    return {"SUPABASE_SCHEMA": existing_schema}


async def test_all_of_it_is_acknowledged(predicting: Installation) -> None:  # noqa: F811 - the fixture
    """After all these kills every record is acknowledged, and everything is accounted for."""
    predicting.processes.start("coordinator")
    await predicting.verify_at_rest()
