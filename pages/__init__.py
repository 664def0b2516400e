"""What a person looks at in a browser: the report of a run, and the live page. No torch, no Kafka; data comes from whoever serves it."""
