"""One request on its way through admission: read, looked up, decided, acted on."""

from dataclasses import dataclass, replace

from core.admission import AdmissionAnswer, AdmissionRequest, Rejection
from core.errors import CorruptInputError, MissingObjectError, PermanentError, RefusedObjectError, UnknownModelError
from core.types import RejectionType
from streams.received import ReceivedRecord
from streams.records import Pins, RequestRef, VideoEncoded
from streams.runtime.assignment import Assignment

INVALIDATES = (UnknownModelError, MissingObjectError, CorruptInputError, RefusedObjectError)
"""Errors that make a request invalid when its model, layout or chunks are looked up."""


@dataclass(frozen=True, slots=True)
class PinnedRun:
    """Everything that decides a run's result. ``model_path`` is recorded for people."""

    pins: Pins
    model_path: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A request, and what each step has learnt about it. Every step returns a new candidate.

    Attributes:
        record: where the request was read.
        assignment: how long this process may work on it.
        request: what the database is asked; it holds the rejection or the finished run, once one is known.
        video: the whole record; None when only its ids are usable, and ``request.rejection`` says why.
        ref: how outcomes name the request.
        pinned: what a new run starts with; None when a run is not needed or impossible.
        answer: the decision; None until it was taken.
    """

    record: ReceivedRecord
    assignment: Assignment
    request: AdmissionRequest
    video: VideoEncoded | None
    ref: RequestRef
    pinned: PinnedRun | None = None
    answer: AdmissionAnswer | None = None

    def rejected(self, error: PermanentError) -> "Candidate":
        """The candidate with an error that makes it invalid."""
        rejection = Rejection(RejectionType.VALIDATION_FAILED, str(error))
        return replace(self, request=replace(self.request, rejection=rejection), pinned=None)
