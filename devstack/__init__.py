"""The embedded stack: Kafka, SeaweedFS, PostgreSQL and PostgREST on one machine, from the package registries."""
