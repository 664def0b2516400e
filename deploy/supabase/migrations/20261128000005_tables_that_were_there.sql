-- On tables that the web application made before ours: their columns may be narrower and without defaults, videos may be a foreign
-- key, tenants may come from user_profiles, and there are jobs that nobody will ever finish. Both kinds of database work alike.
create schema if not exists captionacc_production;
set search_path = captionacc_production, pg_temp;

-- Users write these columns. Rows that are there already are left as they are.
do $$
begin
    if not exists (
        select from pg_constraint
        where conrelid = 'caption_frame_extents_inference_rejections'::regclass
            and conname = 'caption_frame_extents_inference_rejections_acknowledged'
    ) then
        alter table caption_frame_extents_inference_rejections
            add constraint caption_frame_extents_inference_rejections_acknowledged
            check (length(acknowledged_by::text) <= 200 and isfinite(acknowledged_at)) not valid;
    end if;
end
$$;

-- The caller's tenant. Where the schema has a current_user_tenant_id(), as the web application's has, that alone decides, so that
-- our policies allow nothing that the application's own do not. Elsewhere it is the tenant that the token was issued for: its
-- tenant_id, at the top or under app_metadata. Both are set by the issuer; user_metadata, which users write themselves, is not
-- looked at. Null, which equals nothing, where there is none.
create or replace function request_tenant_id() returns uuid
language plpgsql stable
set search_path from current
as $$
declare
    claims jsonb;
    tenant uuid;
begin
    if to_regprocedure('current_user_tenant_id()') is not null then
        execute 'select current_user_tenant_id()' into tenant;
        return tenant;
    end if;
    claims := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
    return coalesce(claims ->> 'tenant_id', claims -> 'app_metadata' ->> 'tenant_id')::uuid;
end
$$;

-- The tenant of a video where the schema has a table of videos; null where it has none, or does not know this one.
create or replace function video_tenant_id(video_id uuid) returns uuid
language plpgsql stable
set search_path from current
as $$
declare
    videos constant regclass := to_regclass('videos');
    owner uuid;
begin
    if videos is null or not has_table_privilege(videos, 'select') or (
        select count(*) from pg_attribute
        where attrelid = videos and attname in ('id', 'tenant_id') and atttypid = 'uuid'::regtype
    ) < 2 then
        return null;
    end if;
    execute format('select tenant_id from %s where id = $1', videos) into owner using video_id;
    return owner;
end
$$;

-- As before, but a job without a run_id counts nowhere: it was queued by the former service, and nobody will finish it.
create or replace function broken_limit(request jsonb, limits jsonb) returns jsonb
language plpgsql volatile
set search_path from current
as $$
declare
    wanted record;
    allowed record;
    now_at constant timestamptz := clock_timestamp();
    last_run_at timestamptz;
    total integer;
    own integer;
begin
    select * into strict wanted from jsonb_to_record(request) as (tenant_id uuid, video_id uuid, priority text, force boolean);
    select * into strict allowed from jsonb_to_record(limits) as (
        rate_limit_seconds integer, max_high_jobs_per_hour integer, max_high_jobs_per_hour_tenant integer,
        queue_limit integer, queue_limit_tenant integer, deadline_high_seconds integer
    );
    if not (allowed is not null) then  -- not the same as "is null": true when any of them is missing
        raise invalid_parameter_value using message = format('a limit is missing from %s', limits);
    end if;

    if wanted.force then
        select max(created_at) into last_run_at
        from caption_frame_extents_inference_requests
        where video_id = wanted.video_id and decision = 'run'
            and created_at > now_at - make_interval(secs => allowed.rate_limit_seconds);
        if last_run_at is not null then
            return jsonb_build_object('type', 'rate_limited', 'message', format(
                'video %s was last admitted %s s ago; a forced run of the same video is accepted %s s after the last '
                || '(EXTENTS_RATE_LIMIT_SECONDS)',
                wanted.video_id, floor(extract(epoch from now_at - last_run_at)), allowed.rate_limit_seconds
            ));
        end if;
    end if;

    -- Low priority waits its turn at the topic; it is never refused for others' work.
    if wanted.priority <> 'high' then
        return null;
    end if;

    select count(*), count(*) filter (where tenant_id = wanted.tenant_id) into total, own
    from caption_frame_extents_inference_requests
    where decision = 'run' and priority = 'high' and created_at > now_at - interval '1 hour';
    if own >= allowed.max_high_jobs_per_hour_tenant then
        return jsonb_build_object('type', 'rate_limited', 'message', format(
            '%s high-priority jobs of tenant %s were admitted in the last hour; the limit is %s (EXTENTS_MAX_HIGH_JOBS_PER_HOUR_TENANT)',
            own, wanted.tenant_id, allowed.max_high_jobs_per_hour_tenant
        ));
    elsif total >= allowed.max_high_jobs_per_hour then
        return jsonb_build_object('type', 'rate_limited', 'message', format(
            '%s high-priority jobs were admitted in the last hour; the limit is %s (EXTENTS_MAX_HIGH_JOBS_PER_HOUR)',
            total, allowed.max_high_jobs_per_hour
        ));
    end if;

    -- A deadline runs from a run's first span: a job that has not begun is within its own.
    select count(*), count(*) filter (where tenant_id = wanted.tenant_id) into total, own
    from caption_frame_extents_inference_jobs
    where priority = 'high' and status in ('queued', 'running') and run_id is not null
        and (started_at is null or started_at > now_at - make_interval(secs => allowed.deadline_high_seconds));
    if own >= allowed.queue_limit_tenant then
        return jsonb_build_object('type', 'queue_full', 'message', format(
            '%s high-priority jobs of tenant %s are unfinished; the limit is %s (EXTENTS_QUEUE_LIMIT_TENANT)',
            own, wanted.tenant_id, allowed.queue_limit_tenant
        ));
    elsif total >= allowed.queue_limit then
        return jsonb_build_object('type', 'queue_full', 'message', format(
            '%s high-priority jobs are unfinished; the limit is %s (EXTENTS_QUEUE_LIMIT)', total, allowed.queue_limit
        ));
    end if;
    return null;
end
$$;

-- As before, but the table of videos, where there is one, knows a video's tenant before its first run.
create or replace function decide_request(request jsonb, limits jsonb) returns jsonb
language plpgsql volatile
set search_path from current
as $$
declare
    wanted record;
    job caption_frame_extents_inference_jobs;
    row_run_id text;
    broken jsonb;
begin
    if jsonb_typeof(request -> 'rejection') = 'object' then
        return jsonb_build_object('decision', 'rejected', 'run_id', request -> 'run_id', 'rejection', request -> 'rejection');
    end if;

    select * into strict wanted from jsonb_to_record(request) as (
        run_id text, tenant_id uuid, video_id uuid, cropped_frames_version integer, model_version text, force boolean, gone_run_id text
    );
    if video_tenant_id(wanted.video_id) <> wanted.tenant_id
        or exists (select from caption_frame_extents_inference_runs where video_id = wanted.video_id and tenant_id <> wanted.tenant_id)
        or exists (select from caption_frame_extents_inference_jobs where video_id = wanted.video_id and tenant_id <> wanted.tenant_id)
    then
        return jsonb_build_object('decision', 'rejected', 'run_id', wanted.run_id, 'rejection', jsonb_build_object(
            'type', 'validation_failed',
            'message', format('video %s belongs to another tenant than %s; a video has one tenant', wanted.video_id, wanted.tenant_id)
        ));
    end if;

    if not wanted.force then
        select run_id into row_run_id
        from caption_frame_extents_inference_runs
        where tenant_id = wanted.tenant_id and video_id = wanted.video_id
            and cropped_frames_version = wanted.cropped_frames_version and model_version = wanted.model_version;
        if row_run_id = request -> 'found_run' ->> 'run_id' then
            return jsonb_build_object('decision', 'found', 'run_id', row_run_id, 'found_run', request -> 'found_run');
        end if;
    end if;
    select * into job from caption_frame_extents_inference_jobs where run_id = wanted.run_id;
    if job.status in ('queued', 'running') then
        return jsonb_build_object('decision', 'join', 'run_id', wanted.run_id, 'attempt', job.attempt);
    end if;
    if row_run_id is not null and row_run_id is distinct from wanted.gone_run_id then
        return jsonb_build_object('decision', 'recheck', 'run_id', row_run_id);
    end if;

    broken := broken_limit(request, limits);
    if broken is not null then
        return jsonb_build_object('decision', 'rejected', 'run_id', wanted.run_id, 'rejection', broken);
    end if;
    return jsonb_build_object('decision', 'run', 'run_id', wanted.run_id, 'attempt', coalesce(job.attempt, 0) + 1);
end
$$;

-- The job or the rejection that follows from a decision.
create or replace function record_decision(request jsonb, decided jsonb) returns void
language plpgsql volatile
set search_path from current
as $$
begin
    if decided ->> 'decision' = 'rejected' then
        insert into caption_frame_extents_inference_rejections (
            id, video_id, tenant_id, rejection_type, rejection_message, frame_count, estimated_cost_usd,
            cropped_frames_version, model_version, priority
        )
        select request_id, video_id, tenant_id, decided -> 'rejection' ->> 'type', decided -> 'rejection' ->> 'message', frame_count,
            estimated_cost_usd, cropped_frames_version, model_version, priority
        from jsonb_to_record(request) as wanted (
            request_id uuid, video_id uuid, tenant_id uuid, frame_count bigint, estimated_cost_usd double precision,
            cropped_frames_version integer, model_version text, priority text
        )
        on conflict (id) do nothing;
    elsif decided ->> 'decision' = 'run' then
        insert into caption_frame_extents_inference_jobs as job (
            run_id, attempt, request_id, replay_id, video_id, tenant_id, cropped_frames_version, model_version, status, priority,
            pairs_total, estimated_cost_usd
        )
        select run_id, (decided ->> 'attempt')::integer, request_id, replay_id, video_id, tenant_id, cropped_frames_version,
            model_version, 'queued', priority, pairs_total, estimated_cost_usd
        from jsonb_to_record(request) as wanted (
            run_id text, request_id uuid, replay_id text, video_id uuid, tenant_id uuid, cropped_frames_version integer,
            model_version text, priority text, pairs_total integer, estimated_cost_usd double precision
        )
        on conflict (run_id) do update set
            attempt = excluded.attempt, request_id = excluded.request_id, replay_id = excluded.replay_id, status = 'queued',
            priority = excluded.priority, pairs_total = excluded.pairs_total, pairs_done = 0,
            estimated_cost_usd = excluded.estimated_cost_usd, started_at = null, completed_at = null, error_message = null,
            gpu_seconds = null, inference_run_id = null, updated_at = now();
    end if;
end
$$;

-- Decide about one request, once: a request that was decided about before is given the same answer, whatever is passed now.
--   request: request_id, run_id, tenant_id, video_id, cropped_frames_version, model_version, frame_count, pairs_total, priority,
--       force, event_id, replay_id, source_topic, source_partition, source_offset, estimated_cost_usd; and optionally
--       rejection {type, message}   found by the caller's own checks,
--       found_run {run_id, ...}     the caller has verified that this run's object is there; stored and given again as it is,
--       gone_run_id                 the caller has seen that this run's object is not there.
--   limits: as in broken_limit.
--   Answer: {decision, run_id, attempt, rejection, found_run, recorded, repeated}; decision is one of
--       run       start this attempt          join      the run is in flight already
--       found     that finished run answers   rejected  for the reason in rejection {type, message}
--       recheck   nothing was written: there is a row of run_id, and the caller has not said whether its object is there.
--   recorded is false where the rejection has no row, because the database does not know the video; else it is missing.
create or replace function admit_request(request jsonb, limits jsonb) returns jsonb
language plpgsql volatile
set search_path from current
as $$
declare
    decided jsonb;
    detail text;
begin
    perform lock_runs();
    select answer into decided
    from caption_frame_extents_inference_requests
    where request_id = (request ->> 'request_id')::uuid;
    if decided is not null then
        return decided || '{"repeated": true}';
    end if;

    decided := decide_request(request, limits);
    if decided ->> 'decision' = 'recheck' then
        return decided || '{"repeated": false}';
    end if;

    begin
        perform record_decision(request, decided);
    exception when foreign_key_violation then
        get stacked diagnostics detail = pg_exception_detail;
        if decided ->> 'decision' <> 'rejected' then
            decided := jsonb_build_object('decision', 'rejected', 'run_id', decided -> 'run_id', 'rejection', jsonb_build_object(
                'type', 'validation_failed',
                'message', format(
                    'the database does not know video %s: %s Insert the video, then send a new request',
                    request ->> 'video_id', coalesce(nullif(detail, ''), 'the key is not there.')
                )
            ));
        end if;
        decided := decided || '{"recorded": false}';
    end;

    insert into caption_frame_extents_inference_requests (
        request_id, tenant_id, video_id, run_id, attempt, decision, answer, priority, event_id, source_topic, source_partition, source_offset
    )
    select request_id, tenant_id, video_id, decided ->> 'run_id', (decided ->> 'attempt')::integer, decided ->> 'decision', decided,
        priority, event_id, source_topic, source_partition, source_offset
    from jsonb_to_record(request) as wanted (
        request_id uuid, tenant_id uuid, video_id uuid, priority text, event_id text,
        source_topic text, source_partition integer, source_offset bigint
    );
    return decided || '{"repeated": false}';
end
$$;

-- The run's row and its job, in one transaction.
--   run: run_id, attempt, request_id, tenant_id, video_id, cropped_frames_version, model_version, model_checkpoint_path,
--       storage_key, size_bytes, sha256, total_pairs, processing_time_seconds, gpu_seconds, started_at, completed_at.
--   Answer: {run_row_id, outcome}; outcome is one of
--       owner        the row of this video, version and model is this run's
--       superseded   the row belongs to a run that was requested later, and stays that run's
--       stale        a later attempt of this run has begun; nothing was written
create or replace function complete_run(run jsonb) returns jsonb
language plpgsql volatile
set search_path from current
as $$
declare
    finished record;
    row_id uuid;
    is_superseded boolean;
begin
    perform lock_runs();
    select * into strict finished from jsonb_to_record(run) as (
        run_id text, attempt integer, request_id uuid, tenant_id uuid, video_id uuid, cropped_frames_version integer, model_version text,
        model_checkpoint_path text, storage_key text, size_bytes bigint, sha256 text, total_pairs integer, processing_time_seconds real,
        gpu_seconds double precision, started_at timestamptz, completed_at timestamptz
    );
    if exists (select from caption_frame_extents_inference_jobs where run_id = finished.run_id and attempt > finished.attempt) then
        select id into row_id from caption_frame_extents_inference_runs where run_id = finished.run_id;
        return jsonb_build_object('run_row_id', row_id, 'outcome', 'stale');
    end if;

    -- A run whose request is not known, because its row was removed, counts as the earliest.
    select coalesce(max(theirs.sequence), 0) > coalesce(
        (select sequence from caption_frame_extents_inference_requests where request_id = finished.request_id), 0
    ) into is_superseded
    from caption_frame_extents_inference_runs as present
    left join caption_frame_extents_inference_requests as theirs on theirs.request_id = present.request_id
    where present.video_id = finished.video_id and present.cropped_frames_version = finished.cropped_frames_version
        and present.model_version = finished.model_version and present.run_id <> finished.run_id;

    if not is_superseded then
        insert into caption_frame_extents_inference_runs as present (
            run_id, request_id, tenant_id, video_id, cropped_frames_version, model_version, model_checkpoint_path,
            wasabi_storage_key, file_size_bytes, sha256, total_pairs, processing_time_seconds, started_at, completed_at
        )
        values (
            finished.run_id, finished.request_id, finished.tenant_id, finished.video_id, finished.cropped_frames_version,
            finished.model_version, finished.model_checkpoint_path, finished.storage_key, finished.size_bytes, finished.sha256,
            finished.total_pairs, finished.processing_time_seconds, finished.started_at, finished.completed_at
        )
        on conflict (video_id, cropped_frames_version, model_version) do update set
            run_id = excluded.run_id, request_id = excluded.request_id, tenant_id = excluded.tenant_id,
            model_checkpoint_path = excluded.model_checkpoint_path, wasabi_storage_key = excluded.wasabi_storage_key,
            file_size_bytes = excluded.file_size_bytes, sha256 = excluded.sha256, total_pairs = excluded.total_pairs,
            processing_time_seconds = excluded.processing_time_seconds, started_at = excluded.started_at, completed_at = excluded.completed_at
        where (present.run_id, present.request_id, present.sha256, present.wasabi_storage_key)
            is distinct from (excluded.run_id, excluded.request_id, excluded.sha256, excluded.wasabi_storage_key);
    end if;
    select id into strict row_id
    from caption_frame_extents_inference_runs
    where video_id = finished.video_id and cropped_frames_version = finished.cropped_frames_version and model_version = finished.model_version;

    -- The priority is asked for even where the job is there and keeps its own: the column may have no default.
    insert into caption_frame_extents_inference_jobs as job (
        run_id, attempt, request_id, video_id, tenant_id, cropped_frames_version, model_version, status, priority, pairs_total,
        pairs_done, gpu_seconds, started_at, completed_at, inference_run_id
    )
    values (
        finished.run_id, finished.attempt, finished.request_id, finished.video_id, finished.tenant_id, finished.cropped_frames_version,
        finished.model_version, 'completed',
        coalesce((select priority from caption_frame_extents_inference_requests where request_id = finished.request_id), 'high'),
        finished.total_pairs, finished.total_pairs, finished.gpu_seconds, finished.started_at, finished.completed_at, row_id
    )
    on conflict (run_id) do update set
        attempt = excluded.attempt, status = excluded.status, pairs_total = excluded.pairs_total, pairs_done = excluded.pairs_done,
        gpu_seconds = excluded.gpu_seconds, started_at = excluded.started_at, completed_at = excluded.completed_at,
        inference_run_id = excluded.inference_run_id, error_message = null, updated_at = now()
    where job.attempt < excluded.attempt or job.status <> 'completed';

    return jsonb_build_object('run_row_id', row_id, 'outcome', case when is_superseded then 'superseded' else 'owner' end);
end
$$;

revoke execute on function request_tenant_id() from public;
revoke execute on function video_tenant_id(uuid) from public, anon, authenticated;
revoke execute on function record_decision(jsonb, jsonb) from public, anon, authenticated;
grant execute on function request_tenant_id() to authenticated, service_role;
grant execute on function video_tenant_id(uuid) to service_role;
grant execute on function record_decision(jsonb, jsonb) to service_role;

notify pgrst, 'reload schema';

reset search_path;
