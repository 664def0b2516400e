"""The limits of a tenant and of all tenants, on a database with the web application's tables and jobs that will never finish."""

import pytest

from tests.service.test_limits import test_limits_of_a_tenant  # noqa: F401 - run here, too

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings(existing_schema: str) -> dict[str, str]:
    """All tenants together may have two unfinished jobs; sixty old ones that stay queued forever do not count."""
    limits = {"EXTENTS_QUEUE_LIMIT_TENANT": "1", "EXTENTS_QUEUE_LIMIT": "2", "EXTENTS_MAX_HIGH_JOBS_PER_HOUR_TENANT": "2"}
    return {"SUPABASE_SCHEMA": existing_schema, **limits}
