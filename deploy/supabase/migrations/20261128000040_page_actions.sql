-- What operators did on the live page. Rows are added and read, never changed; users of the web application see none of them.
create schema if not exists captionacc_production;
set search_path = captionacc_production, pg_temp;

create table if not exists caption_frame_extents_inference_page_actions (
    id bigint generated always as identity primary key,
    session_id text not null,
    role text not null check (role in ('viewer', 'operator')),
    name text,
    action text not null,
    target text not null,
    created_at timestamptz not null default now()
);

alter table caption_frame_extents_inference_page_actions enable row level security;
revoke all on caption_frame_extents_inference_page_actions from public, anon, authenticated, service_role;
grant select, insert on caption_frame_extents_inference_page_actions to service_role;
drop policy if exists service_role_reads on caption_frame_extents_inference_page_actions;
create policy service_role_reads on caption_frame_extents_inference_page_actions for select to service_role using (true);
drop policy if exists service_role_adds on caption_frame_extents_inference_page_actions;
create policy service_role_adds on caption_frame_extents_inference_page_actions for insert to service_role with check (true);

notify pgrst, 'reload schema';

reset search_path;
