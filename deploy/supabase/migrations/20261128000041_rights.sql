-- What users may call is said of every function, also where the project grants new ones to everybody (alter default privileges);
-- and schema_version() is stable again, for the reason that its second version gives.
create schema if not exists captionacc_production;
set search_path = captionacc_production, pg_temp;

alter function schema_version() stable;
revoke execute on function keep_run_history() from public, anon, authenticated;
revoke execute on function request_tenant_id() from anon;

notify pgrst, 'reload schema';

reset search_path;
