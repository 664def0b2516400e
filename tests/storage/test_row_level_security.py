"""Row level security: a user reads its own tenant's rows and acknowledges its own rejections; only the service role writes."""

from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest

from core.runs import StoredRun
from tests.storage.admission_requests import WIDE, limits, request
from tests.storage.finished_runs import finished_run

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def test_a_users_token_reaches_only_its_own_tenant(rows, stack):
    """A user of one tenant reads that tenant's rows in all four tables, and nobody else's."""
    mine, other = request(), request()
    for submitted in (mine, other):
        await rows.admit(submitted, WIDE)
        run = finished_run(
            run_id=submitted.run_id, request_id=submitted.request_id, tenant_id=submitted.tenant_id, video_id=submitted.video_id
        )
        await rows.complete_run(run, StoredRun("k", 1, "0" * 64, 1, False))
        await rows.admit(request(submitted.tenant_id), limits(queue_limit=0))
    async with user(stack, mine.tenant_id) as client:
        for table in ("runs", "jobs", "rejections", "requests"):
            answer = await client.get(f"caption_frame_extents_inference_{table}", params={"select": "tenant_id"})
            assert {row["tenant_id"] for row in answer.raise_for_status().json()} == {str(mine.tenant_id)}


@pytest.mark.parametrize("claims", [{}, {"user_metadata": {"tenant_id": "{tenant}"}}])
async def test_a_token_without_a_tenant_reaches_nothing(rows, stack, claims):
    """No tenant, or one that the user wrote into its own profile, is no tenant."""
    submitted = request()
    await rows.admit(submitted, WIDE)
    claims = {key: {"tenant_id": str(submitted.tenant_id)} for key in claims}
    async with user(stack, None, **claims) as client:
        assert (await client.get("caption_frame_extents_inference_jobs")).raise_for_status().json() == []


async def test_a_tenant_under_app_metadata_counts(rows, stack):
    """Where the issuer puts the tenant under app_metadata, it is found there."""
    submitted = request()
    await rows.admit(submitted, WIDE)
    async with user(stack, None, app_metadata={"tenant_id": str(submitted.tenant_id)}) as client:
        assert len((await client.get("caption_frame_extents_inference_jobs")).raise_for_status().json()) == 1


async def test_a_user_may_acknowledge_its_rejections_and_nothing_else(rows, stack):
    """The three acknowledged columns of the tenant's own rejections can be set, no other column, row or table."""
    mine, other = request(), request()
    for submitted in (mine, other):
        await rows.admit(submitted, limits(queue_limit=0))
    table = "caption_frame_extents_inference_rejections"
    acknowledgement = {"acknowledged": True, "acknowledged_at": NOW.isoformat(), "acknowledged_by": "sam"}
    async with user(stack, mine.tenant_id) as client:
        assert (await client.patch(table, params={"id": f"eq.{mine.request_id}"}, json=acknowledgement)).is_success
        assert (await client.patch(table, params={"id": f"eq.{other.request_id}"}, json=acknowledgement)).is_success  # of no row
        for column, value in (("rejection_message", "fine"), ("tenant_id", str(other.tenant_id)), ("frame_count", 1)):
            answer = await client.patch(table, params={"id": f"eq.{mine.request_id}"}, json={column: value})
            assert answer.json()["code"] == "42501"
        for attempt in (
            client.delete(table, params={"id": f"eq.{mine.request_id}"}),
            client.post(table, json={"id": str(uuid4()), "tenant_id": str(mine.tenant_id)}),
            client.patch("caption_frame_extents_inference_jobs", params={"tenant_id": f"eq.{mine.tenant_id}"}, json={"status": "failed"}),
            client.post("rpc/fail_run", json={"run_id": "x", "attempt": 1, "message": "m", "completed_at": NOW.isoformat()}),
            client.post("rpc/admit_request", json={"request": {}, "limits": {}}),
            client.post("rpc/complete_run", json={"run": {}}),
        ):
            assert (await attempt).json()["code"] == "42501"
    assert (await rows.find_rejection(mine.request_id)).acknowledged
    assert not (await rows.find_rejection(other.request_id)).acknowledged
    await rows.admit(mine, WIDE)
    assert (await rows.find_rejection(mine.request_id)).acknowledged


async def test_nobody_without_a_token_reads_anything(stack):
    """The anonymous role has no right on any table."""
    async with httpx.AsyncClient(base_url=f"{stack.env['SUPABASE_URL']}/rest/v1/") as client:
        headers = {"apikey": stack.config.anon_key, "Accept-Profile": stack.env["SUPABASE_SCHEMA"]}
        for table in ("runs", "jobs", "rejections", "requests"):
            answer = await client.get(f"caption_frame_extents_inference_{table}", headers=headers)
            assert answer.json()["code"] == "42501"


def user(stack, tenant_id, **claims) -> httpx.AsyncClient:
    """A web application's client, for a user who has logged in."""
    if tenant_id is not None:
        claims["tenant_id"] = str(tenant_id)
    schema = stack.env["SUPABASE_SCHEMA"]
    headers = {
        "apikey": stack.config.anon_key,
        "Authorization": f"Bearer {stack.config.token('authenticated', **claims)}",
        "Accept-Profile": schema,
        "Content-Profile": schema,
    }
    return httpx.AsyncClient(base_url=f"{stack.env['SUPABASE_URL']}/rest/v1/", headers=headers)
