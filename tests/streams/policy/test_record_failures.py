"""How failed tries are stored beside an offset, and when no more records may be given up."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigurationError, CorruptInputError
from streams.policy.record_failures import (
    MAX_NOTED,
    WINDOW,
    FailureLimit,
    FailurePolicy,
    PartitionFailures,
    TooManyFailuresError,
    ends_process,
)

BROKERS_LIMIT = 4096
"""``offset.metadata.max.bytes`` by default."""

ERROR = RuntimeError("broke")


@given(st.dictionaries(st.integers(0, 2**63 - 1), st.integers(1, 100)), st.integers(0, 1000), st.integers(0, 2**63 - 1))
def test_a_note_keeps_what_is_ahead_of_its_offset(tries, in_a_row, committed):
    """The note that is read back has the failures of unacknowledged records, and fits beside an offset however many fail."""
    note = PartitionFailures(tries, in_a_row).note(committed)
    ahead = {offset: tries[offset] for offset in sorted(tries) if offset >= committed}
    assert PartitionFailures.from_note(note) == PartitionFailures(dict(list(ahead.items())[:MAX_NOTED]), in_a_row)
    assert len(note) <= BROKERS_LIMIT


def test_the_longest_note_fits_beside_an_offset():
    """The note fits with the maximum number of records and the largest offsets."""
    tries = {2**63 - 1 - number: 99 for number in range(2 * MAX_NOTED)}
    assert len(PartitionFailures(tries, 1000).note(0)) <= BROKERS_LIMIT


@pytest.mark.parametrize("note", ["", "of another tool", "[]", "{}", '{"tries":[[1]],"in_a_row":0}', '{"tries":5,"in_a_row":1}', "null"])
def test_a_note_of_somebody_else_counts_nothing(note):
    """A note that another tool committed with its offset counts nothing."""
    assert PartitionFailures.from_note(note) == PartitionFailures()


def test_a_record_that_is_handled_or_given_up_is_no_longer_noted():
    """A handled record ends a series of given-up records; another given-up one extends it."""
    failures = PartitionFailures().failed(5).failed(5).failed(7)
    assert failures.tries == {5: 2, 7: 1}
    given_up = failures.gave_up(5)
    assert (given_up.tries, given_up.in_a_row) == ({7: 1}, 1)
    handled = given_up.handled(7)
    assert (handled.tries, handled.in_a_row) == ({}, 0)
    assert handled.handled(8) is handled


def test_so_many_in_a_row_stop_the_process():
    """Records that an earlier process gave up also count, according to the partition's note; a handled one ends the series."""
    limit = FailureLimit(FailurePolicy(tries=3, in_a_row=2, per_thousand=1000))
    for _ in range(3):
        limit.check(0, "a topic", ERROR)
        limit.gave_up()
        limit.handled()
    limit.gave_up()
    limit.gave_up()
    with pytest.raises(TooManyFailuresError, match=r"2 records in a row of a topic .*broke.* EXTENTS_UNEXPECTED_IN_A_ROW \(2\)"):
        limit.check(0, "a topic", ERROR)
    with pytest.raises(TooManyFailuresError, match="5 records in a row"):
        FailureLimit(FailurePolicy(3, 2, 1000)).check(5, "a topic", ERROR)


def test_such_a_share_of_the_last_thousand_stops_the_process():
    """The share counts however the failures are spread; older records are forgotten."""
    limit = FailureLimit(FailurePolicy(tries=3, in_a_row=10, per_thousand=3))
    for _ in range(3):
        limit.check(0, "a topic", ERROR)
        limit.gave_up()
        for _ in range(100):
            limit.handled()
    with pytest.raises(TooManyFailuresError, match=r"3 of the last 303 records .* EXTENTS_UNEXPECTED_PER_THOUSAND \(3\)"):
        limit.check(0, "a topic", ERROR)
    for _ in range(WINDOW - 302):
        limit.handled()
    limit.check(0, "a topic", ERROR)


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (ConfigurationError("a setting"), True),
        (OSError(errno.ENOSPC, "full"), True),
        (OSError(errno.EMFILE, "descriptors"), True),
        (OSError(errno.ENOENT, "no file"), False),
        (MemoryError(), False),
        (ValueError(), False),
        (CorruptInputError("a chunk"), False),
    ],
)
def test_errors_of_the_machine_and_the_settings_belong_to_no_record(error, ends):
    """Errors of the machine or the settings end the process at once; a memory error may be the record's fault, and is counted."""
    assert ends_process(error) == ends
