"""The limits of a tenant and of all, on a database that had the web application's tables first, with jobs that nobody will finish."""

import pytest

from tests.service.test_limits import test_limits_of_a_tenant  # noqa: F401 - run here, too

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings(existing_schema: str) -> dict[str, str]:
    """Of all tenants there may be two unfinished jobs; the sixty old ones that are queued for ever are not among them."""
    limits = {"EXTENTS_QUEUE_LIMIT_TENANT": "1", "EXTENTS_QUEUE_LIMIT": "2", "EXTENTS_MAX_HIGH_JOBS_PER_HOUR_TENANT": "2"}
    return {"SUPABASE_SCHEMA": existing_schema, **limits}
