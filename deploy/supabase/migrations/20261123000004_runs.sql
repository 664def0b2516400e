-- What becomes of an admitted run: progress, completion, failure. A repeated call changes nothing, and a job only moves forward
-- within its attempt: queued, running, failed, completed.
create schema if not exists captionacc_production;
set search_path = captionacc_production, pg_temp;

-- Best effort: a call that comes late, or about another attempt than the present one, is without effect.
create or replace function record_progress(run_id text, attempt integer, pairs_done integer, started_at timestamptz) returns void
language sql volatile
set search_path from current
as $$
    update caption_frame_extents_inference_jobs as job
    set status = 'running',
        pairs_done = greatest(job.pairs_done, record_progress.pairs_done),
        started_at = coalesce(job.started_at, record_progress.started_at),
        updated_at = now()
    where job.run_id = record_progress.run_id and job.attempt = record_progress.attempt and job.status in ('queued', 'running')
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

    insert into caption_frame_extents_inference_jobs as job (
        run_id, attempt, request_id, video_id, tenant_id, cropped_frames_version, model_version, status, pairs_total, pairs_done,
        gpu_seconds, started_at, completed_at, inference_run_id
    )
    values (
        finished.run_id, finished.attempt, finished.request_id, finished.video_id, finished.tenant_id, finished.cropped_frames_version,
        finished.model_version, 'completed', finished.total_pairs, finished.total_pairs, finished.gpu_seconds, finished.started_at,
        finished.completed_at, row_id
    )
    on conflict (run_id) do update set
        attempt = excluded.attempt, status = excluded.status, pairs_total = excluded.pairs_total, pairs_done = excluded.pairs_done,
        gpu_seconds = excluded.gpu_seconds, started_at = excluded.started_at, completed_at = excluded.completed_at,
        inference_run_id = excluded.inference_run_id, error_message = null, updated_at = now()
    where job.attempt < excluded.attempt or job.status <> 'completed';

    return jsonb_build_object('run_row_id', row_id, 'outcome', case when is_superseded then 'superseded' else 'owner' end);
end
$$;

create or replace function fail_run(run_id text, attempt integer, message text, completed_at timestamptz) returns void
language sql volatile
set search_path from current
as $$
    select lock_runs();
    update caption_frame_extents_inference_jobs as job
    set status = 'failed', error_message = fail_run.message, completed_at = fail_run.completed_at, updated_at = now()
    where job.run_id = fail_run.run_id and job.attempt = fail_run.attempt and job.status in ('queued', 'running')
$$;

-- Raised by a migration that the service must not run without; the service compares it with the version it was written for.
create or replace function schema_version() returns integer
language sql immutable
set search_path from current
as $$
    select 1
$$;

revoke execute on function record_progress(text, integer, integer, timestamptz) from public, anon, authenticated;
revoke execute on function complete_run(jsonb) from public, anon, authenticated;
revoke execute on function fail_run(text, integer, text, timestamptz) from public, anon, authenticated;
revoke execute on function schema_version() from public, anon, authenticated;
grant execute on function record_progress(text, integer, integer, timestamptz) to service_role;
grant execute on function complete_run(jsonb) to service_role;
grant execute on function fail_run(text, integer, text, timestamptz) to service_role;
grant execute on function schema_version() to service_role;

notify pgrst, 'reload schema';

reset search_path;
