-- The passwords of the roles that log in. Run by psql after devstack/supabase_roles.sql.
\getenv owner_password POSTGRES_PASSWORD
\getenv authenticator_password AUTHENTICATOR_PASSWORD

alter role postgres password :'owner_password';
alter role authenticator password :'authenticator_password';
