"""One root, then the split a stream acts on: try again, report, or set aside.

Vendor exceptions are mapped to these where they enter (``storage``, ``inference``), never further in.
"""


class ExtentsError(Exception):
    """Root of every error the service raises on purpose. The message says what, found, expected and what to do."""


class TransientError(ExtentsError):
    """May pass without anybody's help: a timeout, a 5xx, a refused connection. Tried again with backoff."""


class PermanentError(ExtentsError):
    """Will be the same at every try: it fails the run, or ends the command."""


class ConfigurationError(PermanentError):
    """A setting is missing or cannot be right; the message names its variable."""


class PoisonError(PermanentError):
    """A record that can never be handled: undecodable, or contradicting what it claims to belong to."""


class CorruptInputError(PermanentError):
    """Stored data that cannot be used: a broken chunk, an unreadable layout. Names the object and what was expected."""


class MissingObjectError(PermanentError):
    """An object that must be there is not. Names its key."""


class RefusedObjectError(PermanentError):
    """Access to one object is refused while others of the bucket are served. Names its key."""


class ExistingObjectError(PermanentError):
    """An object that was not to be replaced is there. Names its key."""


class CheckpointError(PermanentError):
    """A checkpoint that cannot be loaded as its architecture. Names the entry."""


class UnknownModelError(PermanentError):
    """No model of that version; the message lists the ones there are."""
