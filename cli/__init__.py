"""The ``extents`` command, one subcommand a file."""
