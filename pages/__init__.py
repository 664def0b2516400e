"""Pages for a browser: the report of a run, and the live page. No torch, no Kafka; the server passes the data in."""
