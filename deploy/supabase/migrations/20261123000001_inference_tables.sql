-- Tables of caption frame extents, and the columns added to the ones that the web application already reads.
--
-- The schema is named in the first lines of each file and nowhere else; for another (SUPABASE_SCHEMA), replace the name there.
-- Every file may be applied again: it creates what is missing and changes no row.
create schema if not exists captionacc_production;
set search_path = captionacc_production, pg_temp;

create table if not exists caption_frame_extents_inference_runs (
    id uuid primary key default gen_random_uuid(),
    run_id text not null unique,
    video_id uuid not null,
    tenant_id uuid not null,
    cropped_frames_version integer not null,
    model_version text not null,
    model_checkpoint_path text,
    wasabi_storage_key text not null,
    file_size_bytes bigint,
    total_pairs integer not null,
    processing_time_seconds real,
    started_at timestamptz not null,
    completed_at timestamptz not null,
    created_at timestamptz not null default now(),
    unique (video_id, cropped_frames_version, model_version)
);
alter table caption_frame_extents_inference_runs
    add column if not exists sha256 text,
    add column if not exists request_id uuid;
create index if not exists caption_frame_extents_inference_runs_tenant
    on caption_frame_extents_inference_runs (tenant_id, created_at desc);

create table if not exists caption_frame_extents_inference_jobs (
    id uuid primary key default gen_random_uuid(),
    video_id uuid not null,
    tenant_id uuid not null,
    cropped_frames_version integer not null,
    model_version text not null,
    status text not null default 'queued' check (status in ('queued', 'running', 'completed', 'failed')),
    priority text not null default 'high' check (priority in ('high', 'low')),
    started_at timestamptz,
    completed_at timestamptz,
    error_message text,
    inference_run_id uuid references caption_frame_extents_inference_runs (id) on delete set null,
    created_at timestamptz not null default now()
);
alter table caption_frame_extents_inference_jobs
    add column if not exists run_id text unique,
    add column if not exists attempt integer not null default 1,
    add column if not exists request_id uuid,
    add column if not exists replay_id text,
    add column if not exists pairs_total integer,
    add column if not exists pairs_done integer not null default 0,
    add column if not exists gpu_seconds double precision,
    add column if not exists estimated_cost_usd double precision,
    add column if not exists updated_at timestamptz not null default now();
create index if not exists caption_frame_extents_inference_jobs_video
    on caption_frame_extents_inference_jobs (video_id);
create index if not exists caption_frame_extents_inference_jobs_tenant
    on caption_frame_extents_inference_jobs (tenant_id, created_at desc);
-- What admission counts: few rows, whatever the table's size.
create index if not exists caption_frame_extents_inference_jobs_unfinished
    on caption_frame_extents_inference_jobs (priority, tenant_id)
    where status in ('queued', 'running');

-- id is the request's. Columns that a broken record may not hold in a usable form may be null.
create table if not exists caption_frame_extents_inference_rejections (
    id uuid primary key,
    video_id uuid not null,
    tenant_id uuid not null,
    rejection_type text not null check (
        rejection_type in ('validation_failed', 'frame_count_exceeded', 'cost_exceeded', 'rate_limited', 'queue_full')
    ),
    rejection_message text not null,
    frame_count bigint,
    estimated_cost_usd double precision,
    cropped_frames_version integer,
    model_version text,
    priority text check (priority in ('high', 'low')),
    created_at timestamptz not null default now(),
    acknowledged boolean not null default false,
    acknowledged_at timestamptz,
    acknowledged_by text
);
create index if not exists caption_frame_extents_inference_rejections_tenant
    on caption_frame_extents_inference_rejections (tenant_id, created_at desc);

-- One row for each video.encoded record that was decided. sequence is the order of the decisions, which a clock does not give;
-- answer is what was decided, word for word, and is given again when the record comes again.
create table if not exists caption_frame_extents_inference_requests (
    request_id uuid primary key,
    sequence bigint generated always as identity unique,
    tenant_id uuid not null,
    video_id uuid not null,
    run_id text,
    attempt integer,
    decision text not null check (decision in ('run', 'join', 'found', 'rejected')),
    answer jsonb not null,
    priority text not null check (priority in ('high', 'low')),
    event_id text,
    source_topic text not null,
    source_partition integer not null,
    source_offset bigint not null,
    created_at timestamptz not null default clock_timestamp()
);
create index if not exists caption_frame_extents_inference_requests_tenant
    on caption_frame_extents_inference_requests (tenant_id, created_at desc);
-- What the rate limits look at.
create index if not exists caption_frame_extents_inference_requests_video
    on caption_frame_extents_inference_requests (video_id, created_at desc)
    where decision = 'run';
create index if not exists caption_frame_extents_inference_requests_high
    on caption_frame_extents_inference_requests (created_at desc, tenant_id)
    where decision = 'run' and priority = 'high';

reset search_path;
