"""The live page: what is in progress, what waits for an operator, and a page for each run and each video."""
