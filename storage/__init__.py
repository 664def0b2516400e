"""What outlives a process: objects, run databases and Supabase rows. Only this package imports aioboto3, supabase and sqlite3."""
