"""The fold of generated logs agrees with a model that reads a log in another way."""

from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.types import Outcome
from streams.policy.run_log import MAX_SPAN_TAKES, UNTAKEN_SECONDS, Disposition, Folded, deadline_ms, fold
from streams.policy.run_state import RunState
from streams.records import (
    DeadlinePassed,
    LogRecord,
    Origin,
    RunCancelled,
    RunFinished,
    RunJoined,
    RunStarted,
    SpanDone,
    SpanFailed,
    SpanTaken,
)
from tests.streams.run_logs import cancelled, deadline, done, failed, finished, joined, request, started, taken

FRAMES = 1026
SPANS = 3  # of 512, 512 and 1 pairs

attempts = st.sampled_from([1, 1, 1, 1, 2, 2, 3])
spans = st.integers(0, SPANS)  # one more than there are
numbers = st.integers(1, 4)

records = st.one_of(
    st.builds(started, attempts),
    st.builds(started, attempts, model_version=st.just("another")),
    st.builds(joined, numbers, attempts),
    st.builds(taken, spans, attempts),
    st.builds(done, spans, attempts),
    st.builds(done, spans, attempts),
    st.builds(done, spans, attempts, size=st.sampled_from([(402, 28), (402, 28), (404, 28)])),
    st.builds(done, spans, attempts, model_version=st.just("another")),
    st.builds(failed, spans, attempts, final=st.booleans()),
    st.builds(deadline, attempts),
    st.builds(cancelled, attempts),
    st.builds(finished, st.sampled_from(Outcome), st.lists(st.sampled_from([1, 2, 3, 4, 101, 102, 103]), unique=True), attempts),
)


@st.composite
def lives(draw) -> list[LogRecord]:
    """A log that mostly looks like a real one: started, processed by several workers, ended, finished, then the next attempt."""
    log: list[LogRecord] = []
    for attempt in range(1, draw(st.integers(1, 3)) + 1):
        log.append(started(attempt))
        work = [taken(span, attempt) for span in range(SPANS)] + [done(span, attempt) for span in range(SPANS)]
        noise = [joined(draw(numbers), attempt), failed(draw(spans), attempt, final=False), taken(draw(spans), attempt)]
        ends = draw(st.lists(st.sampled_from([deadline(attempt), cancelled(attempt), failed(0, attempt, final=True)]), max_size=1))
        middle = draw(st.permutations([*work, *noise, *ends]))
        log += [*middle[: draw(st.integers(0, len(middle)))], draw(records)]
        if draw(st.booleans()):
            log.append(finished(Outcome.FAILED, [*draw(st.lists(numbers, unique=True)), 100 + attempt], attempt))
    return log


restless = st.lists(st.sampled_from([*[taken(0)] * 8, taken(1), failed(0, final=False), done(0), done(1)]), min_size=15, max_size=40)

logs = st.one_of(
    st.lists(records, max_size=40),
    lives(),
    st.lists(records, max_size=40).map(lambda log: [started(), *log]),
    restless.map(lambda log: [started(), *log]),
)


@dataclass
class Aggregator:
    """Keeps what the aggregating agent keeps: the state, and the spans that count."""

    state: RunState | None = None
    kept: set[int] = field(default_factory=set)
    dispositions: list[Disposition] = field(default_factory=list)

    def read(self, log: list[LogRecord], begin: int = 0) -> "Aggregator":
        for offset in range(begin, len(log)):
            self.take(log[offset], offset)
        return self

    def take(self, record: LogRecord, offset: int) -> Folded:
        folded = fold(self.state, record, offset, 1_000_000 + 1000 * offset)
        self.dispositions.append(folded.disposition)
        if folded.disposition is Disposition.COUNTED:
            self.state = folded.state
            if folded.stored is not None:
                assert folded.stored not in self.kept
                self.kept.add(folded.stored)
            assert self.kept.issuperset(folded.dropped)
            self.kept.difference_update(folded.dropped)
        else:
            assert folded.stored is None
            assert not folded.dropped
        return folded


@dataclass
class Reading:
    """What a person would conclude from reading the log."""

    attempt: int = 0
    is_started: bool = False
    done: set[int] = field(default_factory=set)
    outcome: Outcome | None = None
    is_finished: bool = False


def read_by_hand(log: list[LogRecord]) -> Reading | None:
    """The last attempt that began, what was done in it, and how it ended.

    An attempt begins with the first record that starts or joins it and is over when a later one begins.
    """
    beginnings = [record.attempt for record in log if isinstance(record, RunStarted | RunJoined)]
    if not beginnings:
        return None
    attempt = max(beginnings)
    first = next(i for i, record in enumerate(log) if isinstance(record, RunStarted | RunJoined) and record.attempt == attempt)
    own = [record for record in log[first:] if record.attempt == attempt]
    start = next((i for i, record in enumerate(own) if isinstance(record, RunStarted)), len(own))
    reading = Reading(attempt)
    given_up = next((i for i, record in enumerate(own[:start]) if isinstance(record, RunCancelled)), None)
    if given_up is not None:
        reading.outcome = Outcome.CANCELLED
        finishing = [record for record in own[given_up:] if isinstance(record, RunFinished)]
        if finishing:
            reading.outcome, reading.is_finished = finishing[-1].outcome, True
    elif start < len(own):
        reading.is_started = True
        end = next((i for i in range(start, len(own)) if ended_by(since_restart(own[start : i + 1]))), None)
        before = since_restart(own[start : len(own) if end is None else end + 1])
        reading.done = counted(before)
        if end is not None:
            reading.outcome = ended_by(before)
            own = own[end + 1 :]
            finishing = [record for record in own if isinstance(record, RunFinished)]
            if finishing:
                reading.outcome, reading.is_finished, reading.done = finishing[-1].outcome, True, set()
    return reading


def since_restart(records: list[LogRecord]) -> list[LogRecord]:
    """From the last ``run_started`` whose pins differ from those before it."""
    begin, pins = 0, None
    for i, record in enumerate(records):
        if isinstance(record, RunStarted) and record.pins() != pins:
            begin, pins = i, record.pins()
    return records[begin:]


def counted(records: list[LogRecord]) -> set[int]:
    """Spans with a result that counts: with the run's pins, and with the size of the first."""
    beginning = next((record for record in records if isinstance(record, RunStarted)), None)
    results = [record for record in records if isinstance(record, SpanDone) and record.span < SPANS]
    results = [result for result in results if beginning is not None and result.pins() == beginning.pins()]
    return {record.span for record in results if record.frame_width == results[0].frame_width}


def ended_by(records: list[LogRecord]) -> Outcome | None:
    """How the last record ends an attempt that had not ended before it."""
    last, before = records[-1], counted(records[:-1])
    match last:
        case RunCancelled():
            return Outcome.CANCELLED
        case DeadlinePassed():
            return Outcome.FAILED
        case SpanFailed(final=True) if last.span < SPANS and last.span not in before:
            return Outcome.FAILED
        case SpanTaken() if last.span < SPANS and last.span not in before:
            about = [record for record in records if isinstance(record, SpanTaken | SpanFailed) and record.span == last.span]
            counts = [1 if isinstance(record, SpanTaken) else -1 for record in about]
            in_vain = max(sum(counts[i:]) for i in range(len(counts)))
            return Outcome.FAILED if in_vain > MAX_SPAN_TAKES else None
        case SpanDone() if last.span < SPANS and last.pins() == records[0].pins() and last.span not in before:
            if last.span not in counted(records):
                return Outcome.FAILED  # of another size
            return Outcome.COMPLETED if counted(records) == set(range(SPANS)) else None
    return None


@given(logs)
def test_the_outcome_is_the_first_thing_that_ends_the_attempt(log):
    """Attempt, outcome and counted spans are those of a reading by hand."""
    state, reading = Aggregator().read(log).state, read_by_hand(log)
    if reading is None:
        assert state is None
        return
    assert state is not None
    assert (state.attempt, state.outcome, set(state.done)) == (reading.attempt, reading.outcome, reading.done)
    assert (state.finished_at_ms is not None) == reading.is_finished


def test_other_pins_restart_the_attempt():
    """If admission is repeated with another model, precision or layout, earlier results do not count, and all spans are done with these."""
    aggregator = Aggregator().read([started(), done(0), done(1), started(model_version="another"), done(2)])
    assert (aggregator.kept, aggregator.dispositions[-1]) == (set(), Disposition.REFUSED)
    others = [done(span, model_version="another") for span in range(SPANS)]
    assert aggregator.state is not None
    assert aggregator.state.started_at_ms == 1_000_000
    aggregator.read([started()] * 5 + others, 5)
    assert aggregator.state.outcome is Outcome.COMPLETED


def test_a_run_cancelled_before_it_started_is_announced_once():
    """Requests of a run that was cancelled before its start are notified like all others; a late start begins nothing."""
    aggregator = Aggregator().read([joined(1), cancelled(), started(), joined(2)])
    state = aggregator.state
    assert state is not None
    assert (state.outcome, state.needs_finishing, state.finished_at_ms) == (Outcome.CANCELLED, True, None)
    assert [waiting.event_id for waiting in state.requests] == ["event-1", "event-101", "event-2"]
    assert state.notified_count == 1


@given(logs, st.data())
def test_redelivery_changes_nothing(log, data):
    """However often the end of the log is redelivered, state and spans are those of a single delivery."""
    once, often = Aggregator().read(log), Aggregator()
    offset = 0
    while offset < len(log):
        read_to = data.draw(st.integers(offset + 1, len(log)))
        often.read(log[:read_to], offset)
        begin_again = data.draw(st.integers(0, read_to))
        often.read(log[:read_to], begin_again)
        offset = read_to
    assert (often.state, often.kept) == (once.state, once.kept)


@given(logs)
def test_a_state_survives_the_table(log):
    """Writing the state to the table and reading it back between any two records changes nothing."""
    plain, stored = Aggregator(), Aggregator()
    for offset, record in enumerate(log):
        plain.take(record, offset)
        stored.take(record, offset)
        if stored.state is not None:
            stored.state = RunState.model_validate_json(stored.state.to_bytes())
    assert (stored.state, stored.kept, stored.dispositions) == (plain.state, plain.kept, plain.dispositions)


@given(logs)
def test_the_spans_kept_are_those_that_count(log):
    """After every record the stored spans are those that the state counts, and a completed run has all of them."""
    aggregator = Aggregator()
    for offset, record in enumerate(log):
        before = aggregator.state
        aggregator.take(record, offset)
        state = aggregator.state
        if state is None:
            assert not aggregator.kept
            continue
        assert aggregator.kept == set(state.done)
        assert state.done == sorted(set(state.done))
        just_completed = state.outcome is Outcome.COMPLETED and (before is None or before.outcome is None)
        if just_completed:
            assert aggregator.kept == set(range(SPANS))


@given(logs)
@example([joined(1), started(1), failed(0, final=True), joined(2), started(2), finished(Outcome.FAILED, [1, 2, 101])])
@example([joined(1), cancelled(), started(2)])
def test_no_request_is_lost_and_none_is_both_waiting_and_answered(log):
    """A request that started or joined a run is afterwards either waiting, once, or answered."""
    aggregator, known_ids = Aggregator(), set()
    for offset, record in enumerate(log):
        folded = aggregator.take(record, offset)
        asks = isinstance(record, RunJoined) or (isinstance(record, RunStarted) and folded.disposition is Disposition.COUNTED)
        if asks:
            known_ids.add(str(record.request.request_id))
        state = aggregator.state
        if state is None:
            continue
        waiting = [str(request.request_id) for request in state.requests]
        assert len(waiting) == len(set(waiting))
        assert not set(waiting) & set(state.answered)
        assert known_ids <= set(waiting) | set(state.answered)
        assert state.notified_count <= len(waiting)


@given(logs)
def test_no_request_counts_as_answered_without_an_announcement(log):
    """A request stops waiting only if a run_finished names it, or if its attempt failed and a later one began."""
    aggregator = Aggregator()
    for offset, record in enumerate(log):
        before = aggregator.state
        aggregator.take(record, offset)
        if before is None or aggregator.state is None:
            continue
        now = {request.request_id for request in aggregator.state.requests}
        notified = {request.request_id for request in before.requests} - now
        if isinstance(record, RunFinished):
            assert notified <= set(record.answered)
        elif notified:
            assert aggregator.state.attempt > before.attempt
            assert before.outcome is not None
            assert before.finished_at_ms is None


@given(logs)
def test_attempts_only_grow_and_an_outcome_is_final(log):
    """The attempt never decreases; within one, an outcome stays, and only run_finished may replace it."""
    aggregator = Aggregator()
    for offset, record in enumerate(log):
        before = aggregator.state
        aggregator.take(record, offset)
        after = aggregator.state
        if before is None or after is None:
            continue
        assert after.attempt >= before.attempt
        if after.attempt == before.attempt and before.outcome is not None and not isinstance(record, RunFinished):
            assert (after.outcome, after.outcome_at_ms, after.done) == (before.outcome, before.outcome_at_ms, before.done)


TEN = [taken(0)] * 10


@pytest.mark.parametrize(
    ("log", "outcome"),
    [
        (TEN, None),
        ([*TEN, taken(1)], None),
        ([*TEN, failed(0, final=False), taken(0)], None),
        ([*TEN[:5], *[taken(0), failed(0, final=False)] * 20, *TEN[:5]], None),
        ([done(0), *TEN, *TEN], None),
        ([*TEN, taken(0)], Outcome.FAILED),
        ([*TEN, failed(1, final=False), taken(0)], Outcome.FAILED),
        ([taken(0), failed(0, final=False), *TEN, taken(0)], Outcome.FAILED),
        ([*TEN, failed(0, final=False), taken(0), taken(0)], Outcome.FAILED),
        ([*[failed(0, final=False)] * 3, *TEN, taken(0)], Outcome.FAILED),
    ],
)
def test_a_span_that_kills_its_workers_fails_the_run(log, outcome):
    """A span may be taken ten times without a result; a release takes one back, and spans are counted separately."""
    state = Aggregator().read([started(), *log]).state
    assert state is not None
    assert state.outcome is outcome
    if outcome is not None:
        assert state.reason == "span 0 was taken 10 times without a result, so it probably kills its workers; w:1 took it last"


def test_a_span_taken_too_often_leaves_its_work_record():
    """The take beyond the limit contains the work record for the dead letter, because the dead worker can send nothing more."""
    read = {
        "tries": 2,
        "origin": Origin(topic="inference.work.high", partition=3, offset=7),
        "work_key": "k",
        "work_headers": {"a": "b"},
        "work_value": "v",
    }
    last = taken(0).model_copy(update=read)
    state = Aggregator().read([started(), *[taken(0)] * MAX_SPAN_TAKES, last]).state
    assert state is not None
    assert state.failure is not None
    assert {name: getattr(state.failure, name) for name in read} == read
    assert (state.failure.final, state.failure.span, state.failure.error) == (True, 0, state.reason)
    assert RunState.model_validate_json(state.to_bytes()) == state


@given(st.sets(st.integers(0, SPANS - 1)))
def test_pairs_done_counts_the_short_last_span(which):
    """Of 1026 frames the spans have 512, 512 and 1 pairs."""
    state = Aggregator().read([started(), *(done(span) for span in which)]).state
    assert state is not None
    assert state.pairs_done == sum({0: 512, 1: 512, 2: 1}[span] for span in which)


@given(st.lists(records.filter(lambda record: not isinstance(record, RunStarted | RunJoined)), max_size=10))
def test_a_run_that_was_never_started_has_no_state(log):
    """Records of an unknown run are late, whatever their kind."""
    aggregator = Aggregator().read(log)
    assert aggregator.state is None
    assert set(aggregator.dispositions) <= {Disposition.LATE}


@pytest.mark.parametrize("frame_count", [2, 513])
def test_a_video_of_one_span_completes_with_it(frame_count):
    """Two frames and 513 frames are one span."""
    state = Aggregator().read([started(frame_count=frame_count), done(0, frame_count=frame_count)]).state
    assert state is not None
    assert state.outcome is Outcome.COMPLETED
    assert state.pairs_done == frame_count - 1


def test_a_request_that_a_rebuilt_database_did_not_know_is_answered():
    """A start that names an attempt which the log has finished leaves its request waiting for that outcome, and it is answered once."""
    log = [started(), *(done(span) for span in range(SPANS)), finished(Outcome.COMPLETED, [101])]
    aggregator = Aggregator().read(log)
    assert aggregator.state is not None
    assert aggregator.state.is_marker
    again = started(request=request(7))
    aggregator.read([*log, again, again], len(log))
    assert [waiting.event_id for waiting in aggregator.state.requests] == ["event-7"]
    assert aggregator.state.needs_finishing
    assert aggregator.dispositions[-2:] == [Disposition.COUNTED, Disposition.REPEATED]


def test_a_run_of_which_no_span_is_taken_has_a_deadline():
    """Until the first span is taken, a run may wait as long as its record says; by default, as long as work records are kept."""
    state = Aggregator().read([started(untaken_seconds=60)]).state
    assert state is not None
    assert state.started_at_ms is not None
    assert deadline_ms(state) == state.started_at_ms + 60_000
    ended = fold(state, deadline(), 5, 0).state
    assert ended is not None
    assert (ended.outcome, ended.reason) == (Outcome.FAILED, "no span was taken within 60 s (EXTENTS_UNTAKEN_SECONDS)")
    older = Aggregator().read([started()]).state
    assert older is not None
    assert deadline_ms(older) == (older.started_at_ms or 0) + 1000 * UNTAKEN_SECONDS


def test_a_run_that_is_joined_and_never_started_has_a_deadline():
    """A joined run whose run_started never comes, because offsets were reset, does not wait forever."""
    state = Aggregator().read([joined(1)]).state
    assert state is not None
    assert state.joined_at_ms is not None
    assert deadline_ms(state) == state.joined_at_ms + 1000 * UNTAKEN_SECONDS
