-- The service reads promotions, purges and replays at every request: it does not run without the migration before this one.
create schema if not exists captionacc_production;
set search_path = captionacc_production, pg_temp;

create or replace function schema_version() returns integer
language sql immutable
set search_path from current
as $$
    select 3
$$;

notify pgrst, 'reload schema';

reset search_path;
