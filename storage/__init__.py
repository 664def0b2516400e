"""What outlives a process: objects, run databases and Supabase rows. The only importer of aioboto3, supabase and sqlite3."""
