"""One request on its way through admission: read, looked up, decided, acted on."""

from dataclasses import dataclass, replace

from core.admission import AdmissionAnswer, AdmissionRequest, Rejection
from core.errors import CorruptInputError, MissingObjectError, RefusedObjectError, UnknownModelError
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
    """A request and what the steps have learned about it. Every step returns a new candidate.

    Attributes:
        record: the record that holds the request.
        assignment: how long this process may work on it.
        request: what is passed to the database, with the rejection or the finished run once one is known.
        video: the parsed record; None if only its ids are usable, and ``request.rejection`` gives the reason.
        ref: how outcome events refer to the request.
        pinned: what a new run starts with; None if no run is needed or possible.
        answer: the decision; None until it has been made.
        model_chosen: why it gets its model; None if that is not known.
    """

    record: ReceivedRecord
    assignment: Assignment
    request: AdmissionRequest
    video: VideoEncoded | None
    ref: RequestRef
    pinned: PinnedRun | None = None
    answer: AdmissionAnswer | None = None
    model_chosen: str | None = None

    def rejected(self, rejection: Rejection) -> "Candidate":
        """The candidate with this rejection, for the database to store. A request that was decided earlier keeps its decision."""
        return replace(self, request=replace(self.request, rejection=rejection), pinned=None)
