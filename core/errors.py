"""The error classes: one root, then the split that a stream acts on: retry, report, or dead-letter.

Vendor exceptions are mapped to these where they enter (``storage``, ``inference``), never further inside.
"""

from core.redaction import redact


class ExtentsError(Exception):
    """Root of all errors that the service raises on purpose. The message gives the actual and expected value and what to do.

    Messages end up in rows, events and records, so secrets that a library quoted in them are masked.
    """

    def __str__(self) -> str:
        return redact(super().__str__())


class TransientError(ExtentsError):
    """May pass by itself: a timeout, a 5xx, a refused connection. Retried with backoff."""


class PermanentError(ExtentsError):
    """Does not pass by itself. Fails the run, or ends the command."""


class ConfigurationError(PermanentError):
    """A setting is missing or invalid; the message names its variable."""


class PoisonError(PermanentError):
    """A record that can never be handled: undecodable, or contradicting the run that it names."""


class CorruptInputError(PermanentError):
    """Stored data is unusable: a broken chunk, an unreadable layout. Names the object and what was expected."""


class MissingObjectError(PermanentError):
    """A required object is missing. Names its key."""


class RefusedObjectError(PermanentError):
    """Access to one object is refused while others of the bucket are served. Names its key."""


class ExistingObjectError(PermanentError):
    """An object exists already and must not be replaced. Names its key."""


class CheckpointError(PermanentError):
    """A checkpoint cannot be loaded as its architecture. Names the entry."""


class UnknownModelError(PermanentError):
    """No model has this version; the message lists the existing versions."""
