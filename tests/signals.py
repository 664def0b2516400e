"""Gives processes the signal handling of one that a user starts."""

import signal


def heed_signals() -> None:
    """For ``preexec_fn``: restores the default signals, which tests in the background or without a terminal inherit as ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
