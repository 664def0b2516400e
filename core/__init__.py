"""The words every part shares: types, errors, settings, metrics and logging. Imports nothing else of ours."""
