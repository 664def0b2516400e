"""``python -m cli``: the ``extents`` command without its script."""

from cli.main import main

main()
