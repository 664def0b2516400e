-- What the web application's schema holds on the day the service is deployed: its tables, policies and rights, and rows of years.
-- Applied by the owner of the database; {schema} is the schema's name.
create schema {schema};
grant usage on schema {schema} to anon, authenticated, service_role;
-- As Supabase's manual has it for a schema of one's own: everything that is ever made here is for everybody, but for its policies.
alter default privileges in schema {schema} grant all on tables to anon, authenticated, service_role;
alter default privileges in schema {schema} grant all on routines to anon, authenticated, service_role;
alter default privileges in schema {schema} grant all on sequences to anon, authenticated, service_role;
set search_path = {schema};

create table tenants (id uuid primary key default gen_random_uuid(), name text not null, created_at timestamptz default now());
create table user_profiles (
    id uuid primary key references auth.users (id) on delete cascade,
    tenant_id uuid references tenants (id),
    role text not null default 'user',
    approval_status text not null default 'approved',
    created_at timestamptz default now()
);
create table videos (
    id uuid primary key default gen_random_uuid(),
    tenant_id uuid not null references tenants (id),
    uploaded_by_user_id uuid references auth.users (id),
    status text not null default 'active',
    is_demo boolean default false,
    current_cropped_frames_version integer,
    boundaries_status text not null default 'wait'
        check (boundaries_status in ('wait', 'processing', 'annotate', 'done', 'review', 'error')),
    deleted_at timestamptz,
    created_at timestamptz default now()
);
create table cropped_frames_versions (
    id uuid primary key default gen_random_uuid(),
    video_id uuid not null references videos (id) on delete cascade,
    version integer not null,
    tenant_id uuid not null,
    storage_prefix text not null,
    frame_count integer,
    status text not null default 'active',
    created_at timestamptz default now(),
    unique (video_id, version)
);

create table caption_frame_extents_inference_runs (
    id uuid primary key default gen_random_uuid(),
    run_id text not null unique,
    video_id uuid not null references videos (id) on delete cascade,
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
    created_at timestamptz default now(),
    unique (video_id, cropped_frames_version, model_version)
);
create index idx_inference_runs_video on caption_frame_extents_inference_runs (video_id);
create index idx_inference_runs_tenant on caption_frame_extents_inference_runs (tenant_id);

create table caption_frame_extents_inference_jobs (
    id uuid primary key default gen_random_uuid(),
    video_id uuid not null references videos (id) on delete cascade,
    tenant_id uuid not null,
    cropped_frames_version integer not null,
    model_version text not null,
    status text not null check (status in ('queued', 'running', 'completed', 'failed')),
    priority text not null check (priority in ('high', 'low')),
    started_at timestamptz,
    completed_at timestamptz,
    error_message text,
    inference_run_id uuid references caption_frame_extents_inference_runs (id) on delete set null,
    created_at timestamptz default now()
);
create index idx_inference_jobs_video on caption_frame_extents_inference_jobs (video_id);
create index idx_inference_jobs_status on caption_frame_extents_inference_jobs (status);

create table caption_frame_extents_inference_rejections (
    id uuid primary key default gen_random_uuid(),
    video_id uuid not null references videos (id) on delete cascade,
    tenant_id uuid not null,
    rejection_type text not null check (
        rejection_type in ('validation_failed', 'frame_count_exceeded', 'cost_exceeded', 'rate_limited', 'queue_full')
    ),
    rejection_message text not null,
    frame_count integer,
    estimated_cost_usd real,
    cropped_frames_version integer,
    model_version text,
    priority text,
    created_at timestamptz default now(),
    acknowledged boolean default false,
    acknowledged_at timestamptz,
    acknowledged_by uuid references auth.users (id)
);
create index idx_inference_rejections_video on caption_frame_extents_inference_rejections (video_id);
create index idx_inference_rejections_type on caption_frame_extents_inference_rejections (rejection_type);

create function current_user_tenant_id() returns uuid
language sql stable security definer
set search_path = {schema}
as $$ select tenant_id from user_profiles where id = auth.uid() $$;

alter table tenants enable row level security;
alter table user_profiles enable row level security;
alter table videos enable row level security;
alter table cropped_frames_versions enable row level security;
alter table caption_frame_extents_inference_runs enable row level security;
alter table caption_frame_extents_inference_jobs enable row level security;
alter table caption_frame_extents_inference_rejections enable row level security;
create policy "Users view own tenant" on videos for select using (tenant_id = current_user_tenant_id());
create policy "Users view own tenant" on caption_frame_extents_inference_runs for select using (tenant_id = current_user_tenant_id());
create policy "Users view own tenant" on caption_frame_extents_inference_jobs for select using (tenant_id = current_user_tenant_id());
create policy "Users view own tenant" on caption_frame_extents_inference_rejections for select using (tenant_id = current_user_tenant_id());
create policy "Users acknowledge own tenant" on caption_frame_extents_inference_rejections for update using (tenant_id = current_user_tenant_id());

-- Rows of years: finished runs, their jobs, what was refused; and 60 jobs of each priority that nobody will ever finish.
insert into tenants (name) select 'tenant ' || n from generate_series(1, 3) as n;
insert into videos (tenant_id) select id from tenants, generate_series(1, 100);
insert into caption_frame_extents_inference_runs (
    run_id, video_id, tenant_id, cropped_frames_version, model_version, wasabi_storage_key, total_pairs, started_at, completed_at
)
select gen_random_uuid()::text, id, tenant_id, 1, 'mrn0fkfd', tenant_id || '/' || id || '/old.db', 99, now() - interval '2 years', now() - interval '2 years'
from videos;
insert into caption_frame_extents_inference_jobs (
    video_id, tenant_id, cropped_frames_version, model_version, status, priority, inference_run_id, created_at
)
select video_id, tenant_id, 1, model_version, 'completed', 'low', id, null from caption_frame_extents_inference_runs;
insert into caption_frame_extents_inference_jobs (video_id, tenant_id, cropped_frames_version, model_version, status, priority, started_at, created_at)
select videos.id, tenant_id, 2, 'mrn0fkfd', state, rank, case when state = 'running' then now() end, now() - interval '1 year'
from (select * from videos limit 30) as videos, unnest(array['queued', 'running']) as state, unnest(array['high', 'low']) as rank;
insert into caption_frame_extents_inference_rejections (video_id, tenant_id, rejection_type, rejection_message, acknowledged, created_at)
select id, tenant_id, 'queue_full', 'the queue was full', null, null from videos limit 40;

reset search_path;
