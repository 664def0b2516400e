"""Signals as a process of a user's own has them."""

import signal


def heed_signals() -> None:
    """For ``preexec_fn``: tests that run in the background, or past their terminal's end, were themselves told to ignore these."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
