-- What running the service needs: every finished run with what superseded it, replays, the promoted model, purged videos, and the
-- figures that `extents status` and `extents usage` show. All of it is ours alone: users of the web application see none of it.
create schema if not exists captionacc_production;
set search_path = captionacc_production, pg_temp;

-- Every finished run. The table of runs keeps the latest of a video, version and model; this one keeps those before it as well, for
-- as long as their objects are there, and afterwards as a note that they were (deleted_at).
create table if not exists caption_frame_extents_inference_run_history (
    run_id text primary key,
    request_id uuid,
    tenant_id uuid not null,
    video_id uuid not null,
    cropped_frames_version integer not null,
    model_version text not null,
    model_checkpoint_path text,
    wasabi_storage_key text not null,
    file_size_bytes bigint,
    sha256 text,
    total_pairs integer not null,
    processing_time_seconds double precision,
    gpu_seconds double precision,
    precision text,
    provenance jsonb,
    started_at timestamptz not null,
    completed_at timestamptz not null,
    superseded_by text,
    superseded_at timestamptz,
    deleted_at timestamptz,
    created_at timestamptz not null default now()
);
create index if not exists caption_frame_extents_inference_run_history_video
    on caption_frame_extents_inference_run_history (video_id, completed_at desc);
create index if not exists caption_frame_extents_inference_run_history_completed
    on caption_frame_extents_inference_run_history (completed_at desc);

-- Whoever writes a run's row: the one that it replaces stays findable, with what replaced it.
create or replace function keep_run_history() returns trigger
language plpgsql volatile
set search_path from current
as $$
begin
    if tg_op = 'UPDATE' and old.run_id is distinct from new.run_id then
        insert into caption_frame_extents_inference_run_history (
            run_id, request_id, tenant_id, video_id, cropped_frames_version, model_version, model_checkpoint_path, wasabi_storage_key,
            file_size_bytes, sha256, total_pairs, processing_time_seconds, started_at, completed_at, superseded_by, superseded_at
        )
        values (
            old.run_id, old.request_id, old.tenant_id, old.video_id, old.cropped_frames_version, old.model_version,
            old.model_checkpoint_path, old.wasabi_storage_key, old.file_size_bytes, old.sha256, old.total_pairs,
            old.processing_time_seconds, old.started_at, old.completed_at, new.run_id, now()
        )
        on conflict (run_id) do update set superseded_by = excluded.superseded_by, superseded_at = excluded.superseded_at;
    end if;
    insert into caption_frame_extents_inference_run_history (
        run_id, request_id, tenant_id, video_id, cropped_frames_version, model_version, model_checkpoint_path, wasabi_storage_key,
        file_size_bytes, sha256, total_pairs, processing_time_seconds, started_at, completed_at
    )
    values (
        new.run_id, new.request_id, new.tenant_id, new.video_id, new.cropped_frames_version, new.model_version,
        new.model_checkpoint_path, new.wasabi_storage_key, new.file_size_bytes, new.sha256, new.total_pairs,
        new.processing_time_seconds, new.started_at, new.completed_at
    )
    on conflict (run_id) do update set
        wasabi_storage_key = excluded.wasabi_storage_key, file_size_bytes = excluded.file_size_bytes, sha256 = excluded.sha256,
        superseded_by = null, superseded_at = null, deleted_at = null;
    return null;
end
$$;
drop trigger if exists keep_run_history on caption_frame_extents_inference_runs;
create trigger keep_run_history after insert or update on caption_frame_extents_inference_runs
    for each row execute function keep_run_history();

insert into caption_frame_extents_inference_run_history (
    run_id, request_id, tenant_id, video_id, cropped_frames_version, model_version, model_checkpoint_path, wasabi_storage_key,
    file_size_bytes, sha256, total_pairs, processing_time_seconds, started_at, completed_at
)
select run_id, request_id, tenant_id, video_id, cropped_frames_version, model_version, model_checkpoint_path, wasabi_storage_key,
    file_size_bytes, sha256, total_pairs, processing_time_seconds, started_at, completed_at
from caption_frame_extents_inference_runs
on conflict (run_id) do nothing;

-- Adds to a finished run what its row does not hold, and enters a run that was superseded before it was finished.
--   run: as in complete_run, and precision, provenance.
create or replace function record_finished_run(run jsonb) returns void
language sql volatile
set search_path from current
as $$
    insert into caption_frame_extents_inference_run_history as history (
        run_id, request_id, tenant_id, video_id, cropped_frames_version, model_version, model_checkpoint_path, wasabi_storage_key,
        file_size_bytes, sha256, total_pairs, processing_time_seconds, gpu_seconds, precision, provenance, started_at, completed_at,
        superseded_by, superseded_at
    )
    select finished.run_id, finished.request_id, finished.tenant_id, finished.video_id, finished.cropped_frames_version,
        finished.model_version, finished.model_checkpoint_path, finished.storage_key, finished.size_bytes, finished.sha256,
        finished.total_pairs, finished.processing_time_seconds, finished.gpu_seconds, finished.precision, finished.provenance,
        finished.started_at, finished.completed_at, present.run_id, case when present.run_id is not null then now() end
    from jsonb_to_record(run) as finished (
        run_id text, request_id uuid, tenant_id uuid, video_id uuid, cropped_frames_version integer, model_version text,
        model_checkpoint_path text, storage_key text, size_bytes bigint, sha256 text, total_pairs integer,
        processing_time_seconds double precision, gpu_seconds double precision, precision text, provenance jsonb,
        started_at timestamptz, completed_at timestamptz
    )
    left join caption_frame_extents_inference_runs as present
        on present.video_id = finished.video_id and present.cropped_frames_version = finished.cropped_frames_version
        and present.model_version = finished.model_version and present.run_id <> finished.run_id
    on conflict (run_id) do update set
        gpu_seconds = excluded.gpu_seconds, precision = excluded.precision, provenance = excluded.provenance,
        superseded_by = excluded.superseded_by, superseded_at = coalesce(history.superseded_at, excluded.superseded_at)
$$;

-- Requests sent again in bulk. The coordinator that holds the lease sends the items; what it has sent is in the items alone, so that
-- another goes on where it ended.
create table if not exists caption_frame_extents_inference_replays (
    replay_id text primary key check (replay_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    state text not null default 'planned' check (state in ('planned', 'sampling', 'running', 'paused', 'completed', 'cancelled')),
    reason text,
    source jsonb not null,
    skipped integer not null default 0,
    model_version text not null,
    force boolean not null default false,
    priority text not null default 'low' check (priority in ('high', 'low')),
    rate_per_minute integer check (rate_per_minute > 0),
    in_flight_limit integer not null default 20 check (in_flight_limit > 0),
    max_cost_usd double precision check (max_cost_usd > 0),
    until_at timestamptz,
    sample_size integer not null default 0,
    max_change double precision not null default 1,
    sample jsonb,
    created_by text,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    completed_at timestamptz,
    updated_at timestamptz not null default now(),
    lease_owner text,
    lease_until timestamptz
);

create table if not exists caption_frame_extents_inference_replay_items (
    replay_id text not null references caption_frame_extents_inference_replays (replay_id) on delete cascade,
    number integer not null,
    tenant_id uuid not null,
    video_id uuid not null,
    cropped_frames_version integer not null,
    frame_count integer not null,
    event_id text not null,
    request_id uuid not null,
    source text not null,
    estimated_cost_usd double precision not null,
    baseline_run_id text,
    baseline_key text,
    sent_at timestamptz,
    primary key (replay_id, number)
);
create index if not exists caption_frame_extents_inference_replay_items_request
    on caption_frame_extents_inference_replay_items (request_id);

-- The replays that this coordinator carries out until the lease is over; others leave them alone.
create or replace function claim_replays(owner text, lease_seconds double precision)
returns setof caption_frame_extents_inference_replays
language sql volatile
set search_path from current
as $$
    update caption_frame_extents_inference_replays
    set lease_owner = owner, lease_until = clock_timestamp() + make_interval(secs => lease_seconds)
    where state in ('sampling', 'running')
        and (lease_owner is null or lease_owner = owner or lease_until is null or lease_until < clock_timestamp())
    returning *
$$;

create or replace function mark_replay_sent(replay text, numbers integer[]) returns void
language sql volatile
set search_path from current
as $$
    update caption_frame_extents_inference_replay_items
    set sent_at = clock_timestamp()
    where replay_id = replay and number = any (numbers) and sent_at is null
$$;

create or replace function waiting_replay_items(replay text, max_rows integer)
returns setof caption_frame_extents_inference_replay_items
language sql stable
set search_path from current
as $$
    select * from caption_frame_extents_inference_replay_items
    where replay_id = replay and sent_at is null
    order by number
    limit max_rows
$$;

-- How far a replay is. Every item is in exactly one of waiting, undecided, found, rejected, unfinished, completed and failed.
create or replace function replay_progress(replay text) returns jsonb
language sql stable
set search_path from current
as $$
    select jsonb_build_object(
        'items', count(*),
        'waiting', count(*) filter (where item.sent_at is null),
        'undecided', count(*) filter (where item.sent_at is not null and request.request_id is null),
        'found', count(*) filter (where request.decision = 'found'),
        'rejected', count(*) filter (where request.decision = 'rejected'),
        'unfinished', count(*) filter (where request.decision in ('run', 'join') and job.status in ('queued', 'running')),
        'completed', count(*) filter (where request.decision in ('run', 'join') and coalesce(job.status, 'completed') = 'completed'),
        'failed', count(*) filter (where request.decision in ('run', 'join') and job.status = 'failed'),
        'sent_last_minute', count(*) filter (where item.sent_at > clock_timestamp() - interval '1 minute'),
        'gpu_seconds', coalesce(sum(job.gpu_seconds) filter (where request.decision = 'run' and job.status = 'completed'), 0),
        'open_usd', coalesce(sum(item.estimated_cost_usd) filter (where item.sent_at is not null and (
            request.request_id is null or request.decision = 'run' and job.status <> 'completed'
        )), 0),
        'waiting_usd', coalesce(sum(item.estimated_cost_usd) filter (where item.sent_at is null), 0),
        'sampled', count(*) filter (where item.number < replay.sample_size and (
            request.decision in ('found', 'rejected') or request.decision in ('run', 'join') and coalesce(job.status, 'completed') in ('completed', 'failed')
        )),
        'first_sent_at', min(item.sent_at),
        'last_sent_at', max(item.sent_at)
    )
    from caption_frame_extents_inference_replays as replay
    join caption_frame_extents_inference_replay_items as item on item.replay_id = replay.replay_id
    left join caption_frame_extents_inference_requests as request on request.request_id = item.request_id
    left join caption_frame_extents_inference_jobs as job on job.run_id = request.run_id
    where replay.replay_id = replay_progress.replay
$$;

-- The items of a replay in their order, each with what became of it.
create or replace function replay_outcomes(replay text, first_number integer, max_rows integer)
returns table (
    number integer, tenant_id uuid, video_id uuid, cropped_frames_version integer, source text, sent_at timestamptz,
    baseline_run_id text, baseline_key text, decision text, run_id text, status text, run_key text, message text
)
language sql stable
set search_path from current
as $$
    select item.number, item.tenant_id, item.video_id, item.cropped_frames_version, item.source, item.sent_at,
        item.baseline_run_id, item.baseline_key, request.decision, request.run_id, job.status,
        coalesce(history.wasabi_storage_key, request.answer -> 'found_run' ->> 'storage_key'),
        coalesce(job.error_message, request.answer -> 'rejection' ->> 'message')
    from caption_frame_extents_inference_replay_items as item
    left join caption_frame_extents_inference_requests as request on request.request_id = item.request_id
    left join caption_frame_extents_inference_jobs as job on job.run_id = request.run_id
    left join caption_frame_extents_inference_run_history as history on history.run_id = request.run_id and history.deleted_at is null
    where item.replay_id = replay and item.number >= first_number
    order by item.number
    limit max_rows
$$;

-- The newest frames of each video that the service has ever seen, for those whose newest frames have no run of this model.
create or replace function videos_lacking_model(model text, wanted_tenant uuid, after_video uuid, max_rows integer)
returns table (tenant_id uuid, video_id uuid, cropped_frames_version integer, frame_count integer, baseline_run_id text, baseline_key text)
language sql stable
set search_path from current
as $$
    with seen as (
        select run.tenant_id, run.video_id, run.cropped_frames_version, run.total_pairs + 1 as frame_count
        from caption_frame_extents_inference_runs as run
        union all
        select job.tenant_id, job.video_id, job.cropped_frames_version, job.pairs_total + 1
        from caption_frame_extents_inference_jobs as job
        where job.pairs_total is not null
    ), newest as (
        select distinct on (seen.video_id) seen.*
        from seen
        where (wanted_tenant is null or seen.tenant_id = wanted_tenant) and (after_video is null or seen.video_id > after_video)
        order by seen.video_id, seen.cropped_frames_version desc, seen.frame_count desc
    )
    select newest.tenant_id, newest.video_id, newest.cropped_frames_version, newest.frame_count, present.run_id, present.wasabi_storage_key
    from newest
    left join lateral (
        select run.run_id, run.wasabi_storage_key
        from caption_frame_extents_inference_runs as run
        where run.video_id = newest.video_id and run.cropped_frames_version = newest.cropped_frames_version
        order by run.completed_at desc
        limit 1
    ) as present on true
    where not exists (
        select from caption_frame_extents_inference_runs as run
        where run.video_id = newest.video_id and run.cropped_frames_version = newest.cropped_frames_version and run.model_version = model
    )
    order by newest.video_id
    limit max_rows
$$;

-- Which model runs get whose requests name none. The newest that was not withdrawn, and whose share a video is in, decides.
create table if not exists caption_frame_extents_inference_model_promotions (
    id bigint generated always as identity primary key,
    model_version text not null,
    percent integer not null default 100 check (percent between 1 and 100),
    tenant_id uuid,
    promoted_by text,
    note text,
    created_at timestamptz not null default now(),
    withdrawn_at timestamptz,
    withdrawn_by text
);

-- Videos and tenants whose requests are refused from now on, so that no replay brings back what was deleted.
create table if not exists caption_frame_extents_inference_purges (
    id bigint generated always as identity primary key,
    tenant_id uuid not null,
    video_id uuid,
    reason text,
    purged_by text,
    created_at timestamptz not null default now(),
    completed_at timestamptz,
    unique nulls not distinct (tenant_id, video_id)
);

-- The figures of `extents status`: those of our own jobs, which have a run_id.
create or replace function service_overview(since timestamptz, today timestamptz) returns jsonb
language sql stable
set search_path from current
as $$
    select jsonb_build_object(
        'jobs', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'priority', priority, 'status', status, 'count', count, 'oldest_at', oldest_at
            ) order by priority, status), '[]')
            from (
                select priority, status, count(*) as count, min(created_at) as oldest_at
                from caption_frame_extents_inference_jobs
                where status in ('queued', 'running') and run_id is not null
                group by priority, status
            ) as unfinished
        ),
        'completed', (
            select count(*) from caption_frame_extents_inference_jobs where status = 'completed' and run_id is not null and updated_at >= since
        ),
        'failed', (
            select count(*) from caption_frame_extents_inference_jobs where status = 'failed' and run_id is not null and updated_at >= since
        ),
        'decisions', (
            select coalesce(jsonb_object_agg(decision, count), '{}')
            from (
                select decision, count(*) as count from caption_frame_extents_inference_requests where created_at >= since group by decision
            ) as decided
        ),
        'unacknowledged_rejections', (
            select count(*) from caption_frame_extents_inference_rejections where acknowledged is not true
        ),
        'replays', (
            select coalesce(jsonb_agg(jsonb_build_object('replay_id', replay_id, 'state', state, 'reason', reason) order by created_at), '[]')
            from caption_frame_extents_inference_replays
            where state in ('sampling', 'running', 'paused')
        ),
        'gpu_seconds_today', (
            select coalesce(sum(gpu_seconds), 0) from caption_frame_extents_inference_jobs
            where status = 'completed' and run_id is not null and completed_at >= today
        ),
        'open_usd', (
            select coalesce(sum(estimated_cost_usd), 0) from caption_frame_extents_inference_jobs
            where status in ('queued', 'running') and run_id is not null
        )
    )
$$;

-- What was computed between two moments, by tenant, model or day.
create or replace function usage_between(first timestamptz, last timestamptz, by text)
returns table (name text, runs bigint, failed bigint, pairs bigint, gpu_seconds double precision, wall_seconds double precision)
language sql stable
set search_path from current
as $$
    select case usage_between.by
            when 'tenant' then job.tenant_id::text
            when 'model' then job.model_version
            else to_char(job.completed_at at time zone 'UTC', 'YYYY-MM-DD')
        end as name,
        count(*) filter (where job.status = 'completed'),
        count(*) filter (where job.status = 'failed'),
        coalesce(sum(job.pairs_done), 0),
        coalesce(sum(job.gpu_seconds), 0),
        coalesce(sum(extract(epoch from job.completed_at - job.started_at)), 0)::double precision
    from caption_frame_extents_inference_jobs as job
    where job.run_id is not null and job.status in ('completed', 'failed') and job.completed_at >= first and job.completed_at < last
    group by 1
    order by 1
$$;

-- Rejections by day and type, those that nobody has acknowledged beside all.
create or replace function rejection_summary(since timestamptz)
returns table (day text, rejection_type text, total bigint, unacknowledged bigint, videos bigint)
language sql stable
set search_path from current
as $$
    select to_char(created_at at time zone 'UTC', 'YYYY-MM-DD'), rejection_type, count(*),
        count(*) filter (where acknowledged is not true), count(distinct video_id)
    from caption_frame_extents_inference_rejections
    where created_at >= since
    group by 1, 2
    order by 1 desc, 2
$$;

do $$
declare
    name text;
begin
    foreach name in array array['run_history', 'replays', 'replay_items', 'model_promotions', 'purges'] loop
        name := 'caption_frame_extents_inference_' || name;
        execute format('alter table %I enable row level security', name);
        execute format('revoke all on %I from public, anon, authenticated', name);
        execute format('grant select, insert, update, delete on %I to service_role', name);
        execute format('drop policy if exists service_role_all on %I', name);
        execute format('create policy service_role_all on %I for all to service_role using (true) with check (true)', name);
    end loop;
    foreach name in array array[
        'record_finished_run(jsonb)', 'claim_replays(text, double precision)', 'mark_replay_sent(text, integer[])',
        'waiting_replay_items(text, integer)', 'replay_progress(text)', 'replay_outcomes(text, integer, integer)', 'videos_lacking_model(text, uuid, uuid, integer)',
        'service_overview(timestamptz, timestamptz)', 'usage_between(timestamptz, timestamptz, text)', 'rejection_summary(timestamptz)'
    ] loop
        execute 'revoke execute on function ' || name || ' from public, anon, authenticated';
        execute 'grant execute on function ' || name || ' to service_role';
    end loop;
end
$$;

notify pgrst, 'reload schema';

reset search_path;
