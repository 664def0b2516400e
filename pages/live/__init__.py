"""The live page: what is in progress, what waits for a person, and a page of each run and each video."""
