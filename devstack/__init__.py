"""The embedded stack: Kafka, S3, PostgreSQL and Supabase's REST front as real processes on one machine."""
