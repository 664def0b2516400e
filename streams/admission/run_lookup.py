"""Looks up what admission needs about a request: a finished run that answers it, or the pins of a new run."""

from dataclasses import dataclass, replace

from core.admission import Rejection
from core.errors import MissingObjectError, RefusedObjectError
from core.logging import get_logger
from core.settings import AdmissionSettings, variable
from core.types import RejectionType
from storage.keys import Keys
from storage.layouts import fetch_layout
from storage.objects import ObjectStore
from storage.presence import MissingChunks, missing_chunks
from streams.admission.candidate import INVALIDATES, Candidate, PinnedRun
from streams.coordinator.found_runs import FoundRuns
from streams.model_catalog import ModelCatalog
from streams.records import Pins, VideoEncoded
from streams.runtime.circuit_breaker import CircuitBreaker

log = get_logger(__name__)


@dataclass(slots=True)
class RunLookup:
    """Reads the run rows, the model catalogue and the object store. Writes nothing."""

    settings: AdmissionSettings
    store: ObjectStore
    keys: Keys
    catalog: ModelCatalog
    found_runs: FoundRuns
    store_breaker: CircuitBreaker

    async def look_up(self, candidate: Candidate) -> Candidate:
        """Add the finished run, the pins of a new run, or the rejection that the lookup leads to."""
        video = candidate.video
        if candidate.request.rejection is not None or video is None:
            return candidate
        if not candidate.request.force:
            candidate = await self.find_run(candidate)
            if candidate.request.found_run is not None or candidate.request.rejection is not None:
                return candidate
        self._warn_of_size(video)
        try:
            return replace(candidate, pinned=await self.pin(candidate))
        except INVALIDATES as error:
            return candidate.rejected(Rejection(RejectionType.VALIDATION_FAILED, str(error)))

    async def find_run(self, candidate: Candidate) -> Candidate:
        """Add the finished run that answers the request. A run whose object is missing does not count."""
        request = candidate.request
        assert request.cropped_frames_version is not None
        assert request.model_version is not None
        try:
            row, summary = await self.found_runs.find(
                candidate.assignment, request.tenant_id, request.video_id, request.cropped_frames_version, request.model_version
            )
        except RefusedObjectError as error:
            return candidate.rejected(Rejection(RejectionType.VALIDATION_FAILED, str(error)))
        if row is None:
            return candidate
        if summary is None:
            return replace(candidate, request=replace(request, found_run=None, gone_run_id=row.run_id))
        found_run = {"run_id": row.run_id, "event": summary.to_bytes().decode()}
        return replace(candidate, request=replace(request, found_run=found_run, gone_run_id=None))

    async def pin(self, candidate: Candidate) -> PinnedRun:
        """Resolve everything that determines the result of a new run.

        Raises:
            UnknownModelError, MissingObjectError, CorruptInputError, RefusedObjectError: the request is invalid.
        """
        request, video, assignment = candidate.request, candidate.video, candidate.assignment
        assert video is not None
        assert request.run_id is not None
        model_version = request.model_version
        assert model_version is not None
        tenant, version, count = video.tenant_id, video.cropped_frames_version, video.frame_count
        call = self.store_breaker.call
        model = await call(assignment, lambda: self.catalog.resolve(model_version))
        layout = await call(assignment, lambda: fetch_layout(self.store, self.keys, tenant, video.video_id))
        missing = await call(assignment, lambda: missing_chunks(self.store, self.keys, tenant, video.video_id, version, count))
        if missing is not None:
            raise _missing_error(missing, video)
        pins = Pins(
            run_id=request.run_id,
            attempt=1,
            tenant_id=tenant,
            video_id=video.video_id,
            cropped_frames_version=version,
            frame_count=count,
            model_version=model.version,
            checkpoint_sha256=model.checkpoint_sha256,
            precision=self.settings.precision,
            layout_sha256=layout.sha256,
            priority=video.priority,
        )
        return PinnedRun(pins, model.path)

    def _warn_of_size(self, video: VideoEncoded) -> None:
        if video.frame_count >= self.settings.warn_frame_count:
            limit, setting = self.settings.max_frame_count, variable(AdmissionSettings, "max_frame_count")
            log.warning("request.large", video_id=str(video.video_id), frame_count=video.frame_count, limit=limit, setting=setting)


def _missing_error(missing: MissingChunks, video: VideoEncoded) -> MissingObjectError:
    version = video.cropped_frames_version
    if not missing.version_exists:
        return MissingObjectError(
            f"video {video.video_id} has no cropped frames of version {version}; encode it, or name a version that exists"
        )
    present = f"{missing.expected - missing.count} of the {missing.expected} chunks of {video.frame_count} frames are in the store"
    return MissingObjectError(f"{missing.first} is missing: {present}; upload the rest")
