-- How long each GPU worker was up on each day, from its heartbeats: what was paid for, beside what was computed.
create schema if not exists captionacc_production;
set search_path = captionacc_production, pg_temp;

create table if not exists caption_frame_extents_inference_worker_hours (
    instance uuid not null,
    day date not null,
    worker text not null,
    device text not null,
    up_seconds double precision not null check (up_seconds between 0 and 86400),
    primary key (instance, day)
);
create index if not exists caption_frame_extents_inference_worker_hours_by_day on caption_frame_extents_inference_worker_hours (day);

-- Adds what heartbeats say. The greatest number of a worker and day counts, so repeated, late and concurrent calls change nothing.
create or replace function record_worker_hours(hours jsonb) returns void
language sql volatile
set search_path from current
as $$
    insert into caption_frame_extents_inference_worker_hours as present (instance, day, worker, device, up_seconds)
    select instance, day, worker, device, least(greatest(up_seconds, 0), 86400)
    from jsonb_to_recordset(hours) as hour (instance uuid, day date, worker text, device text, up_seconds double precision)
    order by instance, day
    on conflict (instance, day) do update set up_seconds = excluded.up_seconds
    where excluded.up_seconds > present.up_seconds
$$;

-- By day (UTC) and device, those of the days that begin between two moments.
create or replace function worker_hours_between(first timestamptz, last timestamptz)
returns table (day text, device text, workers bigint, up_seconds double precision)
language sql stable
set search_path from current
as $$
    select to_char(hour.day, 'YYYY-MM-DD'), hour.device, count(*), sum(hour.up_seconds)
    from caption_frame_extents_inference_worker_hours as hour
    where hour.day >= (first at time zone 'UTC')::date and hour.day < (last at time zone 'UTC')::date
    group by hour.day, hour.device
    order by hour.day, hour.device
$$;

alter table caption_frame_extents_inference_worker_hours enable row level security;
revoke all on caption_frame_extents_inference_worker_hours from public, anon, authenticated, service_role;
grant select, insert, update on caption_frame_extents_inference_worker_hours to service_role;
drop policy if exists service_role_all on caption_frame_extents_inference_worker_hours;
create policy service_role_all on caption_frame_extents_inference_worker_hours for all to service_role using (true) with check (true);

revoke execute on function record_worker_hours(jsonb) from public, anon, authenticated;
revoke execute on function worker_hours_between(timestamptz, timestamptz) from public, anon, authenticated;
grant execute on function record_worker_hours(jsonb) to service_role;
grant execute on function worker_hours_between(timestamptz, timestamptz) to service_role;

notify pgrst, 'reload schema';

reset search_path;
