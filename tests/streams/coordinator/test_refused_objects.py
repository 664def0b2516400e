"""If the store denies this service an object, the requests that need it are answered, and no process ends or hangs."""

from types import SimpleNamespace
from uuid import UUID

from core.admission import AdmissionAnswer, Decision
from core.errors import RefusedObjectError
from core.settings import AdmissionSettings
from core.types import Outcome, RejectionType
from streams.admission.candidate import Candidate
from streams.admission.run_lookup import RunLookup
from streams.agents.admit import Admission
from streams.coordinator.late_answers import LateAnswers
from streams.coordinator.lost_rows import LostRows
from streams.policy.outcomes import OutcomeEvent
from streams.policy.run_state import RunState
from streams.records import InferenceFailed, decode
from streams.runtime.assignment import Assignment
from tests.storage import admission_requests
from tests.streams.run_logs import RUN, request

REFUSED = RefusedObjectError("s3://b/run.db: AccessDenied; other objects of the bucket are served")


class There:
    """A dependency that works."""

    async def call(self, assignment, action):
        return await action()


class FoundRuns:
    async def find(self, *_: object):
        raise REFUSED


SETTINGS = AdmissionSettings(_env_file=None, low_jobs_limit=1)


def lookup() -> RunLookup:
    nothing = SimpleNamespace()
    return RunLookup(SETTINGS, nothing, nothing, nothing, FoundRuns(), There())


def candidate() -> Candidate:
    return Candidate(SimpleNamespace(), Assignment(1), admission_requests.request(), SimpleNamespace(), request(1))


async def test_an_unreadable_finished_run_becomes_a_rejection_to_decide():
    """The request is rejected with the store's message, unless it was decided earlier: that decision stays."""
    looked_up = await lookup().look_up(candidate())
    assert looked_up.pinned is None
    rejection = looked_up.request.rejection
    assert (rejection.type, rejection.message) == (RejectionType.VALIDATION_FAILED, str(REFUSED))


async def test_a_recheck_passes_on_what_the_store_refuses():
    """If a run was finished meanwhile and its object cannot be read, the decision is requested only once more."""
    requests = []

    async def admit(request, limits):
        requests.append(request)
        decision = Decision.RECHECK if request.rejection is None else Decision.REJECTED
        return AdmissionAnswer(decision=decision, run_id=None, attempt=None, rejection=request.rejection, found_run=None, repeated=False)

    nothing = SimpleNamespace()
    admission = Admission(SETTINGS, nothing, SimpleNamespace(admit=admit), lookup(), nothing, nothing, There(), nothing, nothing)
    answer = (await admission._decide(candidate())).answer
    assert (len(requests), answer.decision, answer.rejection.message) == (2, Decision.REJECTED, str(REFUSED))


class LateJoiner:
    """One request that joined a completed run after its end was announced, and how it is answered."""

    def __init__(self, status: str) -> None:
        self.sent: list[OutcomeEvent] = []
        self.failed: list[str] = []
        self._status = status
        rows = SimpleNamespace(find_job=self._find_job, fail_run=self._fail_run)
        keys = SimpleNamespace(run_db=lambda *ids: "run.db")
        publisher = SimpleNamespace(publish_outcome=self._publish_outcome)
        lost_rows = LostRows(SimpleNamespace(get=self._get), keys, rows, There(), There())
        self._late = LateAnswers(publisher, rows, There(), FoundRuns(), lost_rows)

    async def answered(self) -> str:
        """The reason in the event that answers the request."""
        state = RunState(run_id=str(RUN), attempt=1, offset=5, requests=[request(1)], outcome=Outcome.COMPLETED, finished_at_ms=1)
        await self._late.answer(state, Assignment(1))
        (event,) = self.sent
        return decode(InferenceFailed, event.value).reason

    async def _find_job(self, run_id):
        ids = {"run_id": RUN, "tenant_id": UUID(int=2), "video_id": UUID(int=3)}
        return SimpleNamespace(**ids, attempt=1, status=self._status, cropped_frames_version=1, model_version="builtin-0123abcd")

    async def _fail_run(self, run_id, attempt, reason, ended_at):
        self.failed.append(reason)

    async def _publish_outcome(self, assignment, event):
        self.sent.append(event)

    async def _get(self, key, max_bytes):
        raise REFUSED


async def test_late_joiners_are_notified_that_the_run_cannot_be_read():
    """The finisher continues, because otherwise it would fail at every new owner of the partition."""
    joiner = LateJoiner("completed")
    assert f"can no longer be read: {REFUSED}" in await joiner.answered()
    assert joiner.failed == []


async def test_a_rebuilt_database_learns_that_the_run_cannot_be_read():
    """A job whose rows cannot be restored without the object does not stay queued, and waiting requests are notified."""
    joiner = LateJoiner("queued")
    reason = await joiner.answered()
    assert f"can no longer be read: {REFUSED}" in reason
    assert len(joiner.failed) == 1
    assert str(REFUSED) in joiner.failed[0]
