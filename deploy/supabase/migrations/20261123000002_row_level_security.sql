-- A user reads the rows of its own tenant and may acknowledge its rejections; only the service role writes.
create schema if not exists captionacc_production;
set search_path = captionacc_production, pg_temp;

-- The tenant that the caller's token was issued for: its tenant_id, at the top or under app_metadata. Both are set by the
-- issuer; user_metadata, which users write themselves, is not looked at. Null, which equals nothing, where there is none.
create or replace function request_tenant_id() returns uuid
language sql stable
set search_path from current
as $$
    select coalesce(claims ->> 'tenant_id', claims -> 'app_metadata' ->> 'tenant_id')::uuid
    from (select nullif(current_setting('request.jwt.claims', true), '')::jsonb as claims) as token
$$;
revoke execute on function request_tenant_id() from public;
grant execute on function request_tenant_id() to authenticated, service_role;

do $$
declare
    name text;
begin
    execute format('grant usage on schema %I to authenticated, service_role', current_schema());
    foreach name in array array['runs', 'jobs', 'rejections', 'requests'] loop
        name := 'caption_frame_extents_inference_' || name;
        execute format('alter table %I enable row level security', name);
        execute format('revoke all on %I from public, anon, authenticated', name);
        execute format('grant select on %I to authenticated', name);
        execute format('grant select, insert, update, delete on %I to service_role', name);
        execute format('drop policy if exists tenant_reads on %I', name);
        execute format(
            'create policy tenant_reads on %I for select to authenticated using (tenant_id = (select request_tenant_id()))', name
        );
        execute format('drop policy if exists service_role_all on %I', name);
        execute format('create policy service_role_all on %I for all to service_role using (true) with check (true)', name);
    end loop;
end
$$;

grant update (acknowledged, acknowledged_at, acknowledged_by) on caption_frame_extents_inference_rejections to authenticated;
drop policy if exists tenant_acknowledges on caption_frame_extents_inference_rejections;
create policy tenant_acknowledges on caption_frame_extents_inference_rejections for update to authenticated
    using (tenant_id = (select request_tenant_id()))
    with check (tenant_id = (select request_tenant_id()));

reset search_path;
