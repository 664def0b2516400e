"""What every package shares: types, errors, settings, metrics and logging. Imports no other package of the project."""
