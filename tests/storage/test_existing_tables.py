"""Our migrations on tables that existed before them, and on every earlier version of themselves."""

from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest

from core.admission import Decision
from core.errors import ConfigurationError, PermanentError
from core.runs import StoredRun
from core.types import Priority, RejectionType
from storage.migrations import WRITTEN_FOR, as_script, read_migrations
from storage.rows import SCHEMA_VERSION, Rows
from tests.database.existing import add_video, apply, make_existing_tables
from tests.storage.admission_requests import WIDE, admit, complete, limits, request
from tests.storage.finished_runs import finished_run

STORED = StoredRun("runs/x.db", 4096, "0" * 64, 1, False)
VERSIONS = range(len(read_migrations(WRITTEN_FOR)))


@pytest.fixture
def existing(rows_config, existing_schema):
    """The configuration of rows in a database that knows its videos."""
    return replace(rows_config, schema=existing_schema)


@pytest.fixture
def schema(stack):
    """Only one kind of database, because these tests are about one each."""
    return stack.env["SUPABASE_SCHEMA"]


async def test_a_video_that_the_database_does_not_know_is_rejected_without_a_row(existing, stack):
    """An unknown video gives the same unrecorded rejection each time, which names the video and the missing row."""
    submitted = request()
    async with Rows(existing) as rows:
        answer = await rows.admit(submitted, WIDE)
        assert (answer.decision, answer.recorded, answer.rejection.type) == (Decision.REJECTED, False, RejectionType.VALIDATION_FAILED)
        assert f"the database does not know video {submitted.video_id}" in answer.rejection.message
        assert 'is not present in table "videos"' in answer.rejection.message
        assert await rows.find_rejection(submitted.request_id) is None
        add_video(stack.dsn, existing.schema, submitted.tenant_id, submitted.video_id)
        assert await rows.admit(submitted, WIDE) == replace(answer, repeated=True)
        assert (await rows.admit(replace(submitted, request_id=uuid4()), WIDE)).decision is Decision.RUN


async def test_a_rejection_of_an_unknown_video_keeps_its_own_reason(existing):
    """A rejection for another reason keeps that reason even if the video is unknown."""
    submitted = request()
    async with Rows(existing) as rows:
        for allowed in (limits(queue_limit=0), WIDE):
            answer = await rows.admit(submitted, allowed)
            assert (answer.rejection.type, answer.recorded) == (RejectionType.QUEUE_FULL, False)


async def test_a_video_of_another_tenant_is_refused_before_its_first_run(existing, stack):
    """A request is rejected before the first run if the table of videos names another tenant."""
    submitted = request()
    add_video(stack.dsn, existing.schema, uuid4(), submitted.video_id)
    async with Rows(existing) as rows:
        answer = await rows.admit(submitted, WIDE)
    assert (
        answer.rejection.message
        == f"video {submitted.video_id} belongs to another tenant than {submitted.tenant_id}; a video has one tenant"
    )
    assert answer.recorded


async def test_a_video_deleted_while_it_was_computed_is_named(existing, stack):
    """If a video is deleted during its run, completing the run is a permanent error that names the video."""
    submitted = request()
    add_video(stack.dsn, existing.schema, submitted.tenant_id, submitted.video_id)
    async with Rows(existing) as rows:
        await rows.admit(submitted, WIDE)
        with psycopg.connect(stack.dsn) as connection:
            connection.execute(f"delete from {existing.schema}.videos where id = %s", [submitted.video_id])
        with pytest.raises(PermanentError, match=f"23503.*video_id.*{submitted.video_id}"):
            await complete(rows, submitted)
        assert await rows.find_job(submitted.run_id) is None


async def test_jobs_that_nobody_will_finish_count_nowhere(existing, stack):
    """Old jobs that stay queued or running forever count neither for the queue nor for the low-priority limit."""
    with psycopg.connect(stack.dsn) as connection:
        counts = connection.execute(
            f"select priority, count(*) from {existing.schema}.caption_frame_extents_inference_jobs"
            " where run_id is null and status in ('queued', 'running') group by priority"
        ).fetchall()
    assert dict(counts) == {"high": 60, "low": 60}
    submitted = request()
    add_video(stack.dsn, existing.schema, submitted.tenant_id, submitted.video_id)
    async with Rows(existing) as rows:
        assert await rows.count_unfinished(Priority.LOW) < 60
        assert (await rows.admit(submitted, limits(queue_limit=60, queue_limit_tenant=60))).decision is Decision.RUN


async def test_numbers_that_a_narrow_column_cannot_hold_become_null(existing, stack):
    """A rejection with numbers beyond a column's range is stored with NULL in their place."""
    submitted = request(frame_count=2**40, estimated_cost_usd=1e300)
    add_video(stack.dsn, existing.schema, submitted.tenant_id, submitted.video_id)
    async with Rows(existing) as rows:
        await rows.admit(submitted, limits(queue_limit=0))
        row = await rows.find_rejection(submitted.request_id)
    assert (row.frame_count, row.estimated_cost_usd) == (None, None)


async def test_an_old_row_is_found_and_taken_over(existing, stack):
    """A run of the former service, whose run_id is any UUID, is rechecked before a new run takes over its row and id."""
    with psycopg.connect(stack.dsn) as connection:
        row = connection.execute(
            f"select id, run_id, video_id, tenant_id, model_version from {existing.schema}.caption_frame_extents_inference_runs"
            " where request_id is null limit 1"
        ).fetchone()
    row_id, old_run_id, video_id, tenant_id, model = row
    submitted = request(tenant_id, video_id, model_version=model)
    async with Rows(existing) as rows:
        answer = await rows.admit(submitted, WIDE)
        assert (answer.decision, answer.run_id) == (Decision.RECHECK, old_run_id)
        seen = replace(submitted, found_run={"run_id": old_run_id, "captions": 3})
        assert (await rows.admit(seen, WIDE)).decision is Decision.FOUND
        gone = replace(submitted, request_id=uuid4(), gone_run_id=old_run_id)
        assert (await rows.admit(gone, WIDE)).decision is Decision.RUN
        run = finished_run(run_id=submitted.run_id, request_id=gone.request_id, tenant_id=tenant_id, video_id=video_id,
                           cropped_frames_version=1, model_version=model)  # fmt: skip
        assert (await rows.complete_run(run, STORED)).run_row_id == row_id


@pytest.fixture(params=[False, True], ids=["empty", "existing"])
def emptied(request, stack):
    """A schema with the web application's tables or without, dropped after the test."""
    name = f"test_{uuid4().hex[:12]}"
    if request.param:
        make_existing_tables(stack, name)
    yield name
    with psycopg.connect(stack.dsn, autocommit=True) as connection:
        connection.execute(f"drop schema {name} cascade")


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_earlier_version_moves_to_the_newest(stack, emptied, version):
    """From every earlier version, with a run written under it, applying all migrations twice gives a working service."""
    migrations = read_migrations(emptied)
    apply(stack, migrations[:version])
    options = f"-c search_path={emptied} -c role=service_role"
    before = request()
    if version >= 4:  # the first version that was ever deployed
        _add_video(stack, emptied, before)
        async with await psycopg.AsyncConnection.connect(stack.dsn, autocommit=True, options=options) as connection:
            assert (await admit(connection, before, WIDE)).decision is Decision.RUN
    apply(stack, migrations)
    apply(stack, migrations)
    after = request()
    _add_video(stack, emptied, after)
    async with await psycopg.AsyncConnection.connect(stack.dsn, autocommit=True, options=options) as connection:
        assert await (await connection.execute("select check_service()")).fetchone() == ([],)
        assert (await admit(connection, after, WIDE)).decision is Decision.RUN
        if version >= 4:
            assert (await admit(connection, before, WIDE)).repeated
            joined = await admit(connection, replace(before, request_id=uuid4()), WIDE)
            assert (joined.decision, joined.run_id) == (Decision.JOIN, str(before.run_id))


def test_the_printed_script_is_applied_as_a_whole(stack, emptied):
    """If the printed script fails it changes nothing; if not, the service works, also after a second time."""
    migrations = read_migrations(emptied)
    script = as_script(migrations)
    apply(stack, migrations[:4])
    with psycopg.connect(stack.dsn, autocommit=True) as connection:
        version = f"select {emptied}.schema_version()"
        (first,) = connection.execute(version).fetchone()
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute(script.replace("commit;", "select 1 / 0; commit;").encode())
        connection.execute("rollback")
        assert connection.execute(version).fetchone() == (first,)
        for _ in range(2):
            connection.execute(script.encode())
            assert connection.execute(version).fetchone() == (SCHEMA_VERSION,)
            connection.execute(f"set search_path = {emptied}")
            assert _check(connection) == []
            connection.execute("reset search_path")


def _add_video(stack, schema: str, submitted) -> None:
    with psycopg.connect(stack.dsn) as connection:
        (known,) = connection.execute("select to_regclass(%s)", [f"{schema}.videos"]).fetchone()
    if known:
        add_video(stack.dsn, schema, submitted.tenant_id, submitted.video_id)


BREAKS = {
    "alter table {runs} drop column sha256": "{runs} has no column sha256",
    "alter table {jobs} alter column pairs_total type text": "{jobs}.pairs_total is text; expected integer",
    "drop table {requests}": "there is no table {requests}",
    "revoke insert on {rejections} from service_role": "the service role may not insert {rejections}",
    "alter table {jobs} disable row level security": "row level security is off for {jobs}",
    "grant update on {rejections} to authenticated": "users may update {rejections}.rejection_message",
    "grant delete on {runs} to authenticated": "users may delete {runs}",
    "revoke select on {requests} from authenticated": "users may not read {requests}",
    "alter table {jobs} add owner text not null default ''; alter table {jobs} alter owner drop default": (
        'the service cannot admit a request: 23502 null value in column "owner"'
    ),
    "alter table {jobs} drop constraint caption_frame_extents_inference_jobs_run_id_key": "the service cannot admit a request: 42P10",
    "alter table {runs} add check (total_pairs > 5)": "the service cannot complete a run: 23514",
    "alter table {rejections} add check (rejection_type <> 'queue_full') not valid": "the service cannot reject a request: 23514",
    "drop function fail_run": "the service cannot fail a run: 42883",
    "drop function record_progress": "the service cannot note a run's progress: 42883",
}


@pytest.mark.parametrize("statement", BREAKS)
def test_the_check_names_what_is_missing(stack, emptied, statement):
    """The check names each missing or changed part, and leaves no row behind."""
    apply(stack, read_migrations(emptied))
    tables = {name: f"caption_frame_extents_inference_{name}" for name in ("runs", "jobs", "rejections", "requests")}
    with psycopg.connect(stack.dsn, autocommit=True) as connection:
        connection.execute(f"set search_path = {emptied}")
        before = [connection.execute(f"select count(*) from {table}").fetchone() for table in tables.values()]
        assert _check(connection) == []
        assert [connection.execute(f"select count(*) from {table}").fetchone() for table in tables.values()] == before
        connection.execute(statement.format(**tables))
        faults = _check(connection)
    assert any(fault.startswith(BREAKS[statement].format(**tables)) for fault in faults), faults


def _check(connection) -> list[str]:
    connection.execute("set role service_role")
    (faults,) = connection.execute("select check_service()").fetchone()
    connection.execute("reset role")
    return faults


async def test_doctors_question_is_answered_through_the_api(rows_config, existing):
    """The doctor's check passes on both kinds of database, and names the migrations if the schema lacks them."""
    for config in (rows_config, existing):
        async with Rows(config) as rows:
            await rows.try_everything()
    async with Rows(replace(rows_config, schema="public")) as rows:
        with pytest.raises(ConfigurationError, match="migrations"):
            await rows.try_everything()


def test_the_migrations_are_written_for_any_schema():
    """Only the schema's name differs, and a reserved word of SQL works as a name too."""
    as_written, other = read_migrations(WRITTEN_FOR), read_migrations("user")
    assert [migration.sql.replace(WRITTEN_FOR, '"user"') for migration in as_written] == [migration.sql for migration in other]
    assert not any(WRITTEN_FOR in migration.sql for migration in other)
    assert [migration.file for migration in as_written] == sorted(migration.file for migration in other)
