"""An object that the store refuses to this service alone: whoever needs it is answered, and nothing ends or hangs for it."""

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
from streams.policy.outcomes import OutcomeEvent
from streams.policy.run_log import RunState
from streams.records import InferenceFailed, decode
from streams.runtime.assignment import Assignment
from tests.storage import admission_requests
from tests.streams.run_logs import RUN, request

REFUSED = RefusedObjectError("s3://b/run.db: AccessDenied; other objects of the bucket are served")


class There:
    """A dependency that is there."""

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
    """It is rejected with what the store says, unless it was decided before: then that stands."""
    looked_up = await lookup().look_up(candidate())
    assert looked_up.pinned is None
    rejection = looked_up.request.rejection
    assert (rejection.type, rejection.message) == (RejectionType.VALIDATION_FAILED, str(REFUSED))


async def test_a_recheck_passes_on_what_the_store_refuses():
    """A run of the video was finished in the meantime, and its object cannot be read: the decision is asked for once more, and ends."""
    requests = []

    async def admit(request, limits):
        requests.append(request)
        decision = Decision.RECHECK if request.rejection is None else Decision.REJECTED
        return AdmissionAnswer(decision=decision, run_id=None, attempt=None, rejection=request.rejection, found_run=None, repeated=False)

    nothing = SimpleNamespace()
    admission = Admission(SETTINGS, nothing, SimpleNamespace(admit=admit), lookup(), nothing, nothing, There(), nothing, nothing)
    answer = (await admission._decide(candidate())).answer
    assert (len(requests), answer.decision, answer.rejection.message) == (2, Decision.REJECTED, str(REFUSED))


async def test_late_joiners_are_notified_that_the_run_cannot_be_read():
    """The finisher goes on: it would crash again at every new owner of the partition otherwise."""
    sent: list[OutcomeEvent] = []

    async def publish_outcome(assignment, event):
        sent.append(event)

    async def find_job(run_id):
        return SimpleNamespace(
            run_id=RUN, tenant_id=UUID(int=2), video_id=UUID(int=3), cropped_frames_version=1, model_version="builtin-0123abcd"
        )

    async def restore(state, job, assignment):
        return None

    late = LateAnswers(
        SimpleNamespace(publish_outcome=publish_outcome),
        SimpleNamespace(find_job=find_job),
        There(),
        FoundRuns(),
        SimpleNamespace(restore=restore),
    )
    state = RunState(run_id=str(RUN), attempt=1, offset=5, requests=[request(1)], outcome=Outcome.COMPLETED, finished_at_ms=1)
    await late.answer(state, Assignment(1))
    (event,) = sent
    assert f"cannot be read any more: {REFUSED}" in decode(InferenceFailed, event.value).reason
