-- The decision about a request, taken once: counted, decided and written under one lock.
create schema if not exists captionacc_production;
set search_path = captionacc_production, pg_temp;

-- Held to the end of the transaction by everything that decides about runs or ends them, so that a decision sees a run either
-- in flight or finished, never between. The key is the table's own oid: schemas of one database do not wait for each other.
create or replace function lock_runs() returns void
language sql volatile
set search_path from current
as $$
    select pg_advisory_xact_lock('caption_frame_extents_inference_requests'::regclass::oid::bigint)
$$;

-- The first limit that a new job would break, as {"type", "message"}; null when none. Called under the lock.
--   request: tenant_id, video_id, priority, force, as in admit_request.
--   limits: rate_limit_seconds, max_high_jobs_per_hour, max_high_jobs_per_hour_tenant, queue_limit, queue_limit_tenant,
--           deadline_high_seconds; all required.
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
    where priority = 'high' and status in ('queued', 'running')
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

-- What a request not yet decided about would be answered; writes nothing. Called under the lock.
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
    if exists (select from caption_frame_extents_inference_runs where video_id = wanted.video_id and tenant_id <> wanted.tenant_id)
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

-- Decide about one request, once: a request that was decided about before is given the same answer, whatever is passed now.
--   request: request_id, run_id, tenant_id, video_id, cropped_frames_version, model_version, frame_count, pairs_total, priority,
--       force, event_id, replay_id, source_topic, source_partition, source_offset, estimated_cost_usd; and optionally
--       rejection {type, message}   found by the caller's own checks,
--       found_run {run_id, ...}     the caller has verified that this run's object is there; stored and given again as it is,
--       gone_run_id                 the caller has seen that this run's object is not there.
--   limits: as in broken_limit.
--   Answer: {decision, run_id, attempt, rejection, found_run, repeated}; decision is one of
--       run       start this attempt          join      the run is in flight already
--       found     that finished run answers   rejected  for the reason in rejection {type, message}
--       recheck   nothing was written: there is a row of run_id, and the caller has not said whether its object is there.
create or replace function admit_request(request jsonb, limits jsonb) returns jsonb
language plpgsql volatile
set search_path from current
as $$
declare
    decided jsonb;
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

    insert into caption_frame_extents_inference_requests (
        request_id, tenant_id, video_id, run_id, attempt, decision, answer, priority, event_id, source_topic, source_partition, source_offset
    )
    select request_id, tenant_id, video_id, decided ->> 'run_id', (decided ->> 'attempt')::integer, decided ->> 'decision', decided,
        priority, event_id, source_topic, source_partition, source_offset
    from jsonb_to_record(request) as wanted (
        request_id uuid, tenant_id uuid, video_id uuid, priority text, event_id text,
        source_topic text, source_partition integer, source_offset bigint
    );

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
    return decided || '{"repeated": false}';
end
$$;

revoke execute on function lock_runs() from public, anon, authenticated;
revoke execute on function broken_limit(jsonb, jsonb) from public, anon, authenticated;
revoke execute on function decide_request(jsonb, jsonb) from public, anon, authenticated;
revoke execute on function admit_request(jsonb, jsonb) from public, anon, authenticated;
grant execute on function lock_runs() to service_role;
grant execute on function broken_limit(jsonb, jsonb) to service_role;
grant execute on function decide_request(jsonb, jsonb) to service_role;
grant execute on function admit_request(jsonb, jsonb) to service_role;

reset search_path;
