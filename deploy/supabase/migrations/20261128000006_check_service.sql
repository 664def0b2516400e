-- What `extents doctor` asks: does all that the service will do work here?
create schema if not exists captionacc_production;
set search_path = captionacc_production, pg_temp;

-- What the service, or the rights of users, would stumble over in the tables themselves: a sentence each.
create or replace function table_faults() returns setof text
language sql stable
set search_path from current
as $$
    with expected (table_name, columns) as (
        values
            ('runs', '{"id": "uuid", "run_id": "text", "video_id": "uuid", "tenant_id": "uuid", "cropped_frames_version": "integer",
                "model_version": "text", "model_checkpoint_path": "text", "wasabi_storage_key": "text", "file_size_bytes": "bigint",
                "total_pairs": "integer", "processing_time_seconds": "real", "started_at": "timestamp with time zone",
                "completed_at": "timestamp with time zone", "created_at": "timestamp with time zone", "sha256": "text",
                "request_id": "uuid"}'::jsonb),
            ('jobs', '{"id": "uuid", "video_id": "uuid", "tenant_id": "uuid", "cropped_frames_version": "integer",
                "model_version": "text", "status": "text", "priority": "text", "started_at": "timestamp with time zone",
                "completed_at": "timestamp with time zone", "error_message": "text", "inference_run_id": "uuid",
                "created_at": "timestamp with time zone", "run_id": "text", "attempt": "integer", "request_id": "uuid",
                "replay_id": "text", "pairs_total": "integer", "pairs_done": "integer", "gpu_seconds": "double precision",
                "estimated_cost_usd": "real|double precision", "updated_at": "timestamp with time zone"}'),
            ('rejections', '{"id": "uuid", "video_id": "uuid", "tenant_id": "uuid", "rejection_type": "text",
                "rejection_message": "text", "frame_count": "integer|bigint", "estimated_cost_usd": "real|double precision",
                "cropped_frames_version": "integer", "model_version": "text", "priority": "text",
                "created_at": "timestamp with time zone", "acknowledged": "boolean", "acknowledged_at": "timestamp with time zone",
                "acknowledged_by": "text|uuid"}'),
            ('requests', '{"request_id": "uuid", "sequence": "bigint", "tenant_id": "uuid", "video_id": "uuid", "run_id": "text",
                "attempt": "integer", "decision": "text", "answer": "jsonb", "priority": "text", "event_id": "text",
                "source_topic": "text", "source_partition": "integer", "source_offset": "bigint",
                "created_at": "timestamp with time zone"}')
    ),
    tables as (
        select 'caption_frame_extents_inference_' || table_name as name, columns,
            to_regclass('caption_frame_extents_inference_' || table_name) as id
        from expected
    ),
    present as (
        select tables.name, tables.id, attname, format_type(atttypid, null) as type
        from tables join pg_attribute on attrelid = tables.id and attnum > 0 and not attisdropped
    )
    select format('there is no table %s', name) from tables where id is null
    union all
    select format('%s has no column %s', tables.name, wanted.key)
    from tables, jsonb_each_text(columns) as wanted
    where id is not null and not exists (select from present where present.id = tables.id and attname = wanted.key)
    union all
    select format('%s.%s is %s; expected %s', present.name, attname, type, replace(columns ->> attname::text, '|', ' or '))
    from present join tables using (id)
    where columns ? attname::text and type <> all (string_to_array(columns ->> attname::text, '|'))
    union all
    select format('the service role may not %s %s', lower(privilege), name)
    from tables, unnest(array['SELECT', 'INSERT', 'UPDATE']) as privilege
    where id is not null and not has_table_privilege('service_role', id, privilege)
    union all
    select format('row level security is off for %s: users read the rows of all tenants', name)
    from tables join pg_class on pg_class.oid = tables.id
    where not relrowsecurity
    union all
    select format('users may not read %s', name)
    from tables
    where id is not null and not has_table_privilege('authenticated', id, 'SELECT')
    union all
    select format('users may %s %s; only the service role may', lower(privilege), name)
    from tables, unnest(array['INSERT', 'DELETE', 'TRUNCATE']) as privilege
    where id is not null and has_table_privilege('authenticated', id, privilege)
    union all
    select format('users may update %s.%s; only the three acknowledged columns of rejections are for them', name, attname)
    from present
    where has_column_privilege('authenticated', id, attname, 'UPDATE')
        and not (name like '%\_rejections' and attname in ('acknowledged', 'acknowledged_at', 'acknowledged_by'))
$$;

-- Everything that is wrong, a sentence each; empty when the service can work. Besides looking at the tables it does what the
-- service does, in subtransactions that are rolled back: nothing of it is ever to be seen.
create or replace function check_service() returns text[]
language plpgsql volatile
set search_path from current
as $$
declare
    faults text[] := array(select table_faults());
    wide constant jsonb := '{"rate_limit_seconds": 0, "max_high_jobs_per_hour": 2147483647, "max_high_jobs_per_hour_tenant": 2147483647,
        "queue_limit": 2147483647, "queue_limit_tenant": 2147483647, "deadline_high_seconds": 3600}';
    request jsonb;
    run jsonb;
    other_run_id constant uuid := gen_random_uuid();
    answer jsonb;
    step text;
    videos regclass;
    video uuid := gen_random_uuid();
    tenant uuid;
begin
    begin
        step := 'look for a video to try with';
        select confrelid into videos
        from pg_constraint join pg_attribute on attrelid = conrelid and attnum = any (conkey)
        where conrelid = 'caption_frame_extents_inference_jobs'::regclass and contype = 'f' and attname = 'video_id';
        if videos is not null and has_table_privilege(videos, 'select') then
            execute format('select id from %s limit 1', videos) into video;
            tenant := video_tenant_id(video);
        end if;
        video := coalesce(video, gen_random_uuid());
        request := jsonb_build_object(
            'request_id', gen_random_uuid(), 'run_id', gen_random_uuid(), 'tenant_id', coalesce(
                tenant,
                (select tenant_id from caption_frame_extents_inference_runs where video_id = video limit 1),
                (select tenant_id from caption_frame_extents_inference_jobs where video_id = video limit 1),
                gen_random_uuid()
            ),
            'video_id', video, 'cropped_frames_version', 1, 'model_version', 'extents-doctor', 'frame_count', 3, 'pairs_total', 2,
            'priority', 'high', 'force', false, 'source_topic', 'extents-doctor', 'source_partition', 0, 'source_offset', 0,
            'estimated_cost_usd', 0.5
        );

        step := 'admit a request';
        answer := admit_request(request, wide);
        -- A database that knows no video yet cannot have a row about one; that it says so is right.
        if answer ->> 'decision' = 'run' then
            begin
                step := 'note a run''s progress';
                perform record_progress(answer ->> 'run_id', 1, 1, now());
            exception when others then
                faults := faults || format('the service cannot %s: %s %s', step, sqlstate, sqlerrm);
            end;
            begin
                step := 'complete a run';
                run := request || jsonb_build_object(
                    'attempt', 1, 'storage_key', 'extents-doctor', 'size_bytes', 1, 'total_pairs', 2, 'processing_time_seconds', 1,
                    'gpu_seconds', 1, 'started_at', now(), 'completed_at', now()
                );
                perform complete_run(run);
            exception when others then
                faults := faults || format('the service cannot %s: %s %s', step, sqlstate, sqlerrm);
            end;
            begin
                step := 'fail a run';
                perform admit_request(
                    request || jsonb_build_object('request_id', gen_random_uuid(), 'force', true, 'run_id', other_run_id), wide
                );
                perform fail_run(other_run_id::text, 1, 'extents-doctor', now());
            exception when others then
                faults := faults || format('the service cannot %s: %s %s', step, sqlstate, sqlerrm);
            end;
        elsif coalesce((answer -> 'recorded')::boolean, true) then
            faults := faults || format('a request that ought to run was answered %s', answer);
        end if;
        begin
            step := 'reject a request';
            perform admit_request(
                request || jsonb_build_object(
                    'request_id', gen_random_uuid(), 'rejection', jsonb_build_object('type', 'queue_full', 'message', 'extents-doctor')
                ),
                wide
            );
        exception when others then
            faults := faults || format('the service cannot %s: %s %s', step, sqlstate, sqlerrm);
        end;
        raise exception using errcode = 'EXTOK';  -- rolls back all that was done since the block began
    exception
        when sqlstate 'EXTOK' then
            null;
        when others then
            faults := faults || format('the service cannot %s: %s %s', step, sqlstate, sqlerrm);
    end;
    return faults;
end
$$;

-- Raised by a migration that the service must not run without; the service needs at least the version it was written for.
-- Stable, not immutable: an immutable function is computed when a statement is planned, and a plan that the service role left in a
-- connection would then answer anybody.
create or replace function schema_version() returns integer
language sql stable
set search_path from current
as $$
    select 2
$$;

revoke execute on function table_faults() from public, anon, authenticated;
revoke execute on function check_service() from public, anon, authenticated;
grant execute on function table_faults() to service_role;
grant execute on function check_service() to service_role;

notify pgrst, 'reload schema';

reset search_path;
