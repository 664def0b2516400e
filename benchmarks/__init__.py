"""What the engine is measured with: ``python -m benchmarks``. The plain reference and the recipe for weights serve the tests as well."""
