"""The benchmarks: ``python -m benchmarks``. Tests also use the plain reference and the recipe for weights."""
