"""The shared stack does what production's services do, as far as the service depends on it."""

import errno
import socket
import uuid

import aiohttp
import jwt
import psycopg
import pytest
from aiobotocore.session import get_session
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from botocore.exceptions import ClientError

from core.settings import KafkaSettings, SupabaseSettings, WasabiSettings
from devstack.stack import OwnedStack


def _s3(stack: OwnedStack):
    return get_session().create_client(
        "s3",
        endpoint_url=stack.env["WASABI_ENDPOINT"],
        region_name=stack.env["WASABI_REGION"],
        aws_access_key_id=stack.env["WASABI_ACCESS_KEY"],
        aws_secret_access_key=stack.env["WASABI_SECRET_KEY"],
    )


def _rest(stack: OwnedStack, key: str, token: str | None = None) -> aiohttp.ClientSession:
    headers = {"apikey": key, "Authorization": f"Bearer {token or key}", "Accept-Profile": stack.env["SUPABASE_SCHEMA"]}
    return aiohttp.ClientSession(f"{stack.env['SUPABASE_URL']}/rest/v1/", headers=headers)


def test_the_environment_is_what_the_service_reads(stack, monkeypatch):
    """The service's own settings accept the stack's environment and point to the stack."""
    for name, value in stack.env.items():
        monkeypatch.setenv(name, value)
    assert WasabiSettings().endpoint_url == stack.config.s3_url
    assert SupabaseSettings().url == stack.config.rest_url
    assert KafkaSettings().replication_factor == 1


def test_nothing_listens_beyond_this_machine(stack):
    """Every port answers at 127.0.0.1 and none at 127.0.0.2, as a server on all addresses would."""
    for part, port in stack.config.ports.items():
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with socket.socket() as probe:
            probe.settimeout(5)
            assert probe.connect_ex(("127.0.0.2", port)) == errno.ECONNREFUSED, f"{part} listens beyond 127.0.0.1"
    assert stack.env["EXTENTS_HTTP_HOST"] == "127.0.0.1"


async def test_records_come_out_as_they_went_in(stack, namespace):
    """A record that Kafka acknowledged is read back with its key, value and headers."""
    topic = f"{namespace.topic_prefix}records"
    servers = stack.env["KAFKA_BOOTSTRAP_SERVERS"]
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all") as producer:
        await producer.send_and_wait(topic, key=b"k", value=b"v", headers=[("h", b"1")])
    async with AIOKafkaConsumer(topic, bootstrap_servers=servers, auto_offset_reset="earliest") as consumer:
        record = await consumer.getone()
    assert (record.key, record.value, list(record.headers)) == (b"k", b"v", [("h", b"1")])


async def test_topics_are_not_made_by_accident(stack, namespace):
    """Sending to a missing topic fails, and does not create it."""
    topic = f"{namespace.topic_prefix}typo"
    servers = stack.env["KAFKA_BOOTSTRAP_SERVERS"]
    async with AIOKafkaProducer(bootstrap_servers=servers, request_timeout_ms=1_000) as producer:
        with pytest.raises(KafkaError):
            await producer.send_and_wait(topic, value=b"v")
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        assert topic not in await admin.list_topics()
    finally:
        await admin.close()


async def test_an_object_is_not_overwritten_when_asked_not_to(stack, namespace):
    """The store honours ``If-None-Match: *``, which protects a run database from being replaced."""
    async with _s3(stack) as s3:
        await s3.put_object(Bucket=namespace.bucket, Key="a", Body=b"1", IfNoneMatch="*")
        with pytest.raises(ClientError) as refused:
            await s3.put_object(Bucket=namespace.bucket, Key="a", Body=b"2", IfNoneMatch="*")
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
        response = await s3.get_object(Bucket=namespace.bucket, Key="a")
        assert await response["Body"].read() == b"1"


async def test_the_service_may_not_leave_its_buckets(stack):
    """The service's keys can neither create a bucket nor write to one of another name."""
    async with _s3(stack) as s3:
        with pytest.raises(ClientError) as refused:
            await s3.create_bucket(Bucket="others")
        assert refused.value.response["Error"]["Code"] == "AccessDenied"
        with pytest.raises(ClientError) as refused:
            await s3.put_object(Bucket="others", Key="a", Body=b"1")
        assert refused.value.response["Error"]["Code"] in ("AccessDenied", "NoSuchBucket")


async def test_a_wrong_signature_is_refused(stack):
    """The store checks signatures and rejects another secret."""
    wrong = get_session().create_client(
        "s3",
        endpoint_url=stack.env["WASABI_ENDPOINT"],
        region_name=stack.env["WASABI_REGION"],
        aws_access_key_id=stack.env["WASABI_ACCESS_KEY"],
        aws_secret_access_key="wrong",
    )
    async with wrong as s3:
        with pytest.raises(ClientError) as refused:
            await s3.list_objects_v2(Bucket=stack.env["WASABI_BUCKET"])
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


async def test_rest_wants_an_api_key(stack):
    """The gateway rejects requests without one of the project's API keys, whatever token they carry."""
    url = f"{stack.env['SUPABASE_URL']}/rest/v1/"
    token = {"Authorization": f"Bearer {stack.env['SUPABASE_SERVICE_ROLE_KEY']}"}
    async with aiohttp.ClientSession() as session:
        for headers in ({}, token, {**token, "apikey": "wrong"}):
            async with session.get(url, headers=headers) as response:
                assert response.status == 401


async def test_a_forged_token_is_refused(stack):
    """A token signed with another secret is rejected."""
    forged = jwt.encode({"role": "service_role"}, "x" * 64, algorithm="HS256")
    async with _rest(stack, stack.config.anon_key, forged) as session, session.get("") as response:
        assert response.status == 401


async def test_roles_and_claims_reach_row_level_security(stack):
    """A policy reads the token's claims through ``auth.jwt()``; the service role bypasses it, and anon gets nothing."""
    table, mine, others = f"t_{uuid.uuid4().hex[:8]}", str(uuid.uuid4()), str(uuid.uuid4())
    schema = stack.env["SUPABASE_SCHEMA"]
    async with await psycopg.AsyncConnection.connect(stack.dsn, autocommit=True) as connection:
        await connection.execute(f"""
            create table {schema}.{table} (tenant_id uuid);
            grant select on {schema}.{table} to authenticated;
            grant all on {schema}.{table} to service_role;
            alter table {schema}.{table} enable row level security;
            create policy own on {schema}.{table} for select to authenticated
                using (tenant_id = (auth.jwt() ->> 'tenant_id')::uuid);
            insert into {schema}.{table} values ('{mine}'), ('{others}');
            notify pgrst, 'reload schema'
        """)
    try:
        service = stack.env["SUPABASE_SERVICE_ROLE_KEY"]
        async with _rest(stack, service) as session:
            while (rows := await _rows(session, table)) is None:
                pass  # PostgREST is still reading the new schema
        assert {row["tenant_id"] for row in rows} == {mine, others}
        user = stack.config.token("authenticated", tenant_id=mine, sub=str(uuid.uuid4()))
        async with _rest(stack, stack.config.anon_key, user) as session:
            assert await _rows(session, table) == [{"tenant_id": mine}]
        async with _rest(stack, stack.config.anon_key) as session, session.get(table) as response:
            assert response.status in (401, 403)
    finally:
        async with await psycopg.AsyncConnection.connect(stack.dsn, autocommit=True) as connection:
            await connection.execute(f"drop table {schema}.{table}")


async def _rows(session: aiohttp.ClientSession, table: str) -> list[dict[str, str]] | None:
    """Return None while the table is unknown."""
    async with session.get(table) as response:
        if response.status == 404:
            return None
        response.raise_for_status()
        return await response.json()


async def test_a_filter_passes_the_gateway_as_it_was_written(stack):
    """The gateway passes percent signs, commas and quotes of a PostgREST filter on unchanged."""
    async with _rest(stack, stack.env["SUPABASE_SERVICE_ROLE_KEY"]) as session:
        url = 'caption_frame_extents_inference_jobs?select=id&error_message=in.("a%2Cb%22","c+d%25")'
        async with session.get(url) as response:
            assert (response.status, await response.json()) == (200, [])


async def test_postgres_is_no_superuser(stack):
    """Migrations run with the same rights as at Supabase, so that a migration that needs more fails here first."""
    async with await psycopg.AsyncConnection.connect(stack.dsn) as connection:
        row = await (await connection.execute("select rolsuper from pg_roles where rolname = current_user")).fetchone()
    assert row == (False,)
