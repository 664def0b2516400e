"""Row level security: users read their tenant's rows and acknowledge its rejections, and only the service role writes."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from core.runs import StoredRun
from storage.migrations import read_migrations
from tests.database.existing import SCHEMA, add_user, apply
from tests.storage.admission_requests import WIDE, limits, request
from tests.storage.finished_runs import finished_run

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REJECTIONS = "caption_frame_extents_inference_rejections"


async def test_a_users_token_reaches_only_its_own_tenant(rows, stack, schema):
    """A user reads the tenant's rows in all four tables, and no other tenant's."""
    mine, other = request(), request()
    for submitted in (mine, other):
        await rows.admit(submitted, WIDE)
        run = finished_run(
            run_id=submitted.run_id, request_id=submitted.request_id, tenant_id=submitted.tenant_id, video_id=submitted.video_id
        )
        await rows.complete_run(run, StoredRun("k", 1, "0" * 64, 1, False))
        await rows.admit(request(submitted.tenant_id), limits(queue_limit=0))
    async with user(stack, schema, mine.tenant_id) as client:
        for table in ("runs", "jobs", "rejections", "requests"):
            answer = await client.get(f"caption_frame_extents_inference_{table}", params={"select": "tenant_id"})
            assert {row["tenant_id"] for row in answer.raise_for_status().json()} == {str(mine.tenant_id)}


@pytest.mark.parametrize("claims", [{}, {"user_metadata": {"tenant_id": "{tenant}"}}])
async def test_a_token_without_a_tenant_reaches_nothing(rows, stack, schema, claims):
    """A missing tenant, or one that users wrote into their own profile, gives no rows."""
    submitted = request()
    await rows.admit(submitted, WIDE)
    claims = {key: {"tenant_id": str(submitted.tenant_id)} for key in claims}
    async with client_with(stack, schema, **claims) as client:
        assert (await client.get("caption_frame_extents_inference_jobs")).raise_for_status().json() == []


@pytest.mark.parametrize("place", ["top", "app_metadata"])
async def test_a_tenant_of_the_token_counts_where_the_database_knows_no_users(rows, stack, schema, place):
    """A token's tenant counts only if the schema has no current_user_tenant_id(), so that its own policies are not widened."""
    submitted = request()
    await rows.admit(submitted, WIDE)
    tenant = {"tenant_id": str(submitted.tenant_id)}
    async with client_with(stack, schema, sub=str(uuid4()), **(tenant if place == "top" else {"app_metadata": tenant})) as client:
        for table in ("jobs", "requests"):
            visible = (await client.get(f"caption_frame_extents_inference_{table}")).raise_for_status().json()
            assert len(visible) == (0 if schema == SCHEMA else 1)


async def test_a_user_may_acknowledge_its_rejections_and_nothing_else(rows, stack, schema):
    """A user may set the three acknowledged columns of the tenant's own rejections, and no other column, row or table."""
    mine, other = request(), request()
    for submitted in (mine, other):
        await rows.admit(submitted, limits(queue_limit=0))
    async with user(stack, schema, mine.tenant_id) as client:
        seen = {"acknowledged": True, "acknowledged_at": NOW.isoformat(), "acknowledged_by": client.headers["user-id"]}
        assert (await client.patch(REJECTIONS, params={"id": f"eq.{mine.request_id}"}, json=seen)).is_success
        assert (await client.patch(REJECTIONS, params={"id": f"eq.{other.request_id}"}, json=seen)).is_success  # changes no row
        for column, value in (("rejection_message", "fine"), ("tenant_id", str(other.tenant_id)), ("frame_count", 1)):
            answer = await client.patch(REJECTIONS, params={"id": f"eq.{mine.request_id}"}, json={column: value})
            assert answer.json()["code"] == "42501"
        for attempt in (
            client.delete(REJECTIONS, params={"id": f"eq.{mine.request_id}"}),
            client.post(REJECTIONS, json={"id": str(uuid4()), "tenant_id": str(mine.tenant_id)}),
            client.patch("caption_frame_extents_inference_jobs", params={"tenant_id": f"eq.{mine.tenant_id}"}, json={"status": "failed"}),
            client.post("rpc/fail_run", json={"run_id": "x", "attempt": 1, "message": "m", "completed_at": NOW.isoformat()}),
            client.post("rpc/admit_request", json={"request": {}, "limits": {}}),
            client.post("rpc/complete_run", json={"run": {}}),
            client.post("rpc/check_service", json={}),
            client.post("rpc/schema_version", json={}),
            client.get("caption_frame_extents_inference_run_history"),
            client.post("caption_frame_extents_inference_purges", json={"tenant_id": str(mine.tenant_id)}),
        ):
            assert (await attempt).json()["code"] == "42501"
    assert (await rows.find_rejection(mine.request_id)).acknowledged
    assert not (await rows.find_rejection(other.request_id)).acknowledged
    await rows.admit(mine, WIDE)
    assert (await rows.find_rejection(mine.request_id)).acknowledged


@pytest.mark.parametrize("change", [{"acknowledged_by": "x" * 201}, {"acknowledged_at": "infinity"}])
async def test_an_acknowledgement_is_of_a_bounded_size_and_time(rows, stack, schema, change):
    """Values that a user writes into a rejection are bounded in size and time."""
    submitted = request()
    await rows.admit(submitted, limits(queue_limit=0))
    async with user(stack, schema, submitted.tenant_id) as client:
        answer = await client.patch(REJECTIONS, params={"id": f"eq.{submitted.request_id}"}, json=change)
    assert answer.json()["code"] in ("23514", "22P02")  # refused by our check, or by a column that holds only UUIDs


async def test_nobody_without_a_token_reads_anything(stack, schema):
    """The anonymous role may read no table."""
    async with httpx.AsyncClient(base_url=f"{stack.env['SUPABASE_URL']}/rest/v1/") as client:
        headers = {"apikey": stack.config.anon_key, "Accept-Profile": schema}
        for table in ("runs", "jobs", "rejections", "requests"):
            answer = await client.get(f"caption_frame_extents_inference_{table}", headers=headers)
            assert answer.json()["code"] == "42501"


PREFIX = "caption_frame_extents_inference_"


@pytest.fixture
def generous(stack):
    """A connection to a migrated project that grants everything new to everybody, as in Supabase's guide to custom schemas."""
    name = f"test_{uuid4().hex[:12]}"
    with psycopg.connect(stack.dsn, autocommit=True) as connection:
        connection.execute(f"create schema {name}")
        for kind in ("tables", "routines", "sequences"):
            connection.execute(f"alter default privileges in schema {name} grant all on {kind} to anon, authenticated, service_role")
        apply(stack, read_migrations(name))
        connection.execute(f"set search_path = {name}")
        yield connection
        connection.execute(f"drop schema {name} cascade")


def test_users_get_no_right_that_is_not_meant(generous):
    """Users may read four tables, acknowledge rejections and call the function that returns their tenant; anonymous users nothing."""
    rights = generous.execute(
        """
        select role, wanted, relname from pg_class, unnest(array['anon', 'authenticated']) as role,
            unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) as wanted
        where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p', 'v', 'm') and has_table_privilege(role, oid, wanted)
        """
    ).fetchall()
    readable = ("jobs", "rejections", "requests", "runs")
    assert sorted(rights) == [("authenticated", "SELECT", f"{PREFIX}{table}") for table in readable]
    columns = generous.execute(
        """
        select relname, attname from pg_attribute join pg_class on attrelid = pg_class.oid, unnest(array['anon', 'authenticated']) as role
        where relnamespace = current_schema()::regnamespace and relkind = 'r' and attnum > 0
            and has_column_privilege(role, attrelid, attname, 'UPDATE')
        """
    ).fetchall()
    assert sorted(columns) == [(REJECTIONS, name) for name in ("acknowledged", "acknowledged_at", "acknowledged_by")]
    callable_ = generous.execute(
        """
        select role, proname::text from pg_proc, unnest(array['anon', 'authenticated']) as role
        where pronamespace = current_schema()::regnamespace and has_function_privilege(role, oid, 'EXECUTE')
        """
    ).fetchall()
    assert callable_ == [("authenticated", "request_tenant_id")]


def test_every_table_is_guarded_and_no_function_lends_its_owners_rights(generous):
    """All tables have row level security, functions run as their caller with a fixed search path, and operators' actions stay."""
    ours = "= current_schema()::regnamespace"
    unguarded = f"select relname from pg_class where relnamespace {ours} and relkind = 'r' and not relrowsecurity"
    assert generous.execute(unguarded).fetchall() == []
    lending = f"select proname from pg_proc where pronamespace {ours} and (prosecdef or proconfig is null)"
    assert generous.execute(lending).fetchall() == []
    kept = (
        "select wanted from unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) as wanted"
        f" where has_table_privilege('service_role', '{PREFIX}page_actions', wanted)"
    )
    assert generous.execute(kept).fetchall() == [("SELECT",), ("INSERT",)]
    volatility = f"select provolatile::text from pg_proc where proname = 'schema_version' and pronamespace {ours}"
    assert generous.execute(volatility).fetchall() == [("s",)]


def user(stack, schema: str, tenant_id: UUID) -> httpx.AsyncClient:
    """Open a web application's client for a user, who is known by a profile if there are profiles, and otherwise by a token."""
    if schema == SCHEMA:
        return client_with(stack, schema, sub=str(add_user(stack.dsn, schema, tenant_id)))
    return client_with(stack, schema, sub=str(uuid4()), tenant_id=str(tenant_id))


def client_with(stack, schema: str, **claims) -> httpx.AsyncClient:
    """Open a web application's client with a token of these claims."""
    headers = {
        "apikey": stack.config.anon_key,
        "Authorization": f"Bearer {stack.config.token('authenticated', **claims)}",
        "Accept-Profile": schema,
        "Content-Profile": schema,
        "user-id": claims.get("sub", ""),
    }
    return httpx.AsyncClient(base_url=f"{stack.env['SUPABASE_URL']}/rest/v1/", headers=headers)
