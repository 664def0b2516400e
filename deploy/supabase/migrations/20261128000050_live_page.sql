-- What the live page shows, in one call for the tables and one for the charts, so that watching costs little.
create schema if not exists captionacc_production;
set search_path = captionacc_production, pg_temp;

create index if not exists caption_frame_extents_inference_jobs_updated
    on caption_frame_extents_inference_jobs (updated_at);

-- The figures, unfinished jobs (running ones first, then the longest waiting), the last that ended, and unacknowledged rejections.
create or replace function live_page(since timestamptz, today timestamptz, shown integer) returns jsonb
language sql stable
set search_path from current
as $$
    select jsonb_build_object(
        'overview', service_overview(since, today),
        'in_progress', (
            select coalesce(jsonb_agg(to_jsonb(job)), '[]')
            from (
                select id, run_id, video_id, tenant_id, status, priority, model_version, replay_id, pairs_total, pairs_done,
                    created_at, started_at, completed_at, error_message
                from caption_frame_extents_inference_jobs
                where status in ('queued', 'running') and run_id is not null
                order by status desc, priority, created_at, id
                limit shown
            ) as job
        ),
        'recent', (
            select coalesce(jsonb_agg(to_jsonb(job)), '[]')
            from (
                select id, run_id, video_id, tenant_id, status, priority, model_version, replay_id, pairs_total, pairs_done,
                    created_at, started_at, completed_at, error_message
                from caption_frame_extents_inference_jobs
                where status in ('completed', 'failed') and run_id is not null and updated_at >= since - interval '7 days'
                order by updated_at desc, id
                limit shown
            ) as job
        ),
        'rejections', (
            select coalesce(jsonb_agg(to_jsonb(rejection)), '[]')
            from (
                select id, video_id, tenant_id, rejection_type, rejection_message, acknowledged, created_at
                from caption_frame_extents_inference_rejections
                where acknowledged is not true
                order by created_at desc, id
                limit shown
            ) as rejection
        )
    )
$$;

-- The replays that have not ended and those that ended since a moment, each with its progress; the newest first.
create or replace function live_replays(since timestamptz) returns jsonb
language sql stable
set search_path from current
as $$
    select coalesce(jsonb_agg(to_jsonb(replay) || jsonb_build_object('progress', replay_progress(replay.replay_id)) order by replay.created_at desc), '[]')
    from (
        select replay_id, state, reason, model_version, force, rate_per_minute, in_flight_limit, max_cost_usd, until_at, sample_size, sample,
            max_change, source, created_by, created_at, started_at, completed_at, updated_at
        from caption_frame_extents_inference_replays
        where state in ('planned', 'sampling', 'running', 'paused') or updated_at >= since
    ) as replay
$$;

-- What was computed and what waited, in equal steps between two moments. A job's pairs count evenly from its start to its end, or to
-- ``last`` while it runs; what waits is told as of each step's end.
create or replace function activity_between(first timestamptz, last timestamptz, steps integer)
returns table (
    at timestamptz, pairs_per_second double precision,
    high_pairs double precision, low_pairs double precision, high_runs bigint, low_runs bigint
)
language sql stable
set search_path from current
as $$
    with step as (
        select first + (last - first) * number / steps as begins, first + (last - first) * (number + 1) / steps as ends
        from generate_series(0, steps - 1) as number
    ), job as (
        select priority, created_at, started_at, pairs_total, pairs_done,
            case when status in ('completed', 'failed') then coalesce(completed_at, updated_at) end as ended_at,
            greatest(case when status in ('completed', 'failed') then coalesce(completed_at, updated_at) else last end, started_at) as stopped_at
        from caption_frame_extents_inference_jobs
        where run_id is not null and (status in ('queued', 'running') or updated_at >= first)
    ), moment as (
        select step.begins, step.ends, job.priority, job.pairs_total, job.pairs_done,
            job.created_at <= step.ends and (job.ended_at is null or job.ended_at > step.ends) as waits,
            greatest(extract(epoch from job.stopped_at - job.started_at), 0.001) as seconds,
            case when job.started_at is not null then
                extract(epoch from least(step.ends, job.stopped_at) - greatest(step.begins, job.started_at))
            end as within,
            extract(epoch from least(step.ends, job.stopped_at) - job.started_at) as elapsed
        from step left join job on true
    ), work as (
        select begins, ends, priority, waits,
            pairs_done * greatest(within, 0) / seconds as pairs,
            greatest(pairs_total - coalesce(pairs_done * greatest(elapsed, 0) / seconds, 0), 0) as left_over
        from moment
    )
    select ends,
        (coalesce(sum(pairs), 0) / greatest(extract(epoch from ends - begins), 0.001))::double precision,
        coalesce(sum(left_over) filter (where waits and priority = 'high'), 0)::double precision,
        coalesce(sum(left_over) filter (where waits and priority = 'low'), 0)::double precision,
        count(*) filter (where waits and priority = 'high'),
        count(*) filter (where waits and priority = 'low')
    from work
    group by begins, ends
    order by ends
$$;

do $$
declare
    name text;
begin
    foreach name in array array[
        'live_page(timestamptz, timestamptz, integer)', 'live_replays(timestamptz)', 'activity_between(timestamptz, timestamptz, integer)'
    ] loop
        execute 'revoke execute on function ' || name || ' from public, anon, authenticated';
        execute 'grant execute on function ' || name || ' to service_role';
    end loop;
end
$$;

notify pgrst, 'reload schema';

reset search_path;
