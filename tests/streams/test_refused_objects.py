"""An object that the store refuses to this service alone: whoever needs it is answered, and nothing ends or hangs for it."""

from types import SimpleNamespace
from uuid import UUID

from core.admission import AdmissionAnswer, Decision
from core.errors import RefusedObjectError
from core.settings import AdmissionSettings
from core.types import Outcome, RejectionType
from streams.agents.admit import Admission
from streams.app import Tenure
from streams.late_answers import LateAnswers
from streams.outcomes import OutcomeEvent
from streams.records import InferenceFailed, decode
from streams.run_log import RunState
from tests.storage import admission_requests
from tests.streams.run_logs import RUN, request

REFUSED = RefusedObjectError("s3://b/run.db: AccessDenied; other objects of the bucket are served")


class There:
    """A dependency that is there."""

    async def call(self, tenure, action):
        return await action()


class FoundRuns:
    async def look(self, *_: object):
        raise REFUSED


def admission(rows: object = None, found_runs: object = None) -> Admission:
    nothing = SimpleNamespace()
    settings = AdmissionSettings(_env_file=None, low_jobs_limit=1)
    return Admission(settings, nothing, nothing, nothing, rows, nothing, found_runs, There(), There())


async def test_a_request_over_a_finished_run_that_cannot_be_read_is_put_to_the_decision():
    """It is rejected with what the store says, unless it was decided before: then that stands."""
    asked, pinned = await admission(found_runs=FoundRuns())._look_up(Tenure(1), admission_requests.request(), SimpleNamespace())
    assert pinned is None
    assert (asked.rejection.type, asked.rejection.message) == (RejectionType.VALIDATION_FAILED, str(REFUSED))


async def test_a_request_decided_while_it_looked_is_asked_again_with_what_the_store_refuses():
    """A run of the video was finished in the meantime, and its object cannot be read: the decision is asked for once more, and ends."""
    asked_for = []

    async def admit(asked, limits):
        asked_for.append(asked)
        decision = Decision.RECHECK if asked.rejection is None else Decision.REJECTED
        return AdmissionAnswer(decision=decision, run_id=None, attempt=None, rejection=asked.rejection, found_run=None, repeated=False)

    admitting = admission(SimpleNamespace(admit=admit), FoundRuns())
    answer = await admitting._decide(Tenure(1), admission_requests.request())
    assert (len(asked_for), answer.decision, answer.rejection.message) == (2, Decision.REJECTED, str(REFUSED))


async def test_who_joined_a_completed_run_late_is_told_that_it_cannot_be_read():
    """The finisher goes on: it would crash again at every new owner of the partition otherwise."""
    told: list[OutcomeEvent] = []

    async def announce(tenure, event):
        told.append(event)

    async def find_job(run_id):
        return SimpleNamespace(
            run_id=RUN, tenant_id=UUID(int=2), video_id=UUID(int=3), cropped_frames_version=1, model_version="builtin-0123abcd"
        )

    late = LateAnswers(SimpleNamespace(announce=announce), SimpleNamespace(find_job=find_job), There(), FoundRuns())
    state = RunState(run_id=str(RUN), attempt=1, offset=5, requests=[request(1)], outcome=Outcome.COMPLETED, finished_at_ms=1)
    await late.answer(state, Tenure(1))
    (event,) = told
    assert f"cannot be read any more: {REFUSED}" in decode(InferenceFailed, event.value).reason
