"""The log of a run quotes a work record in full when it is taken and when it fails, so the record must fit there."""

from types import SimpleNamespace

import orjson
import pytest

from core.errors import PoisonError
from streams.agents.infer import MAX_WORK_BYTES, check_size
from streams.policy.redrive import MAX_HISTORY_BYTES
from streams.records import Work, decode
from tests.streams.run_logs import work


def record(value: bytes, **headers: bytes) -> SimpleNamespace:
    return SimpleNamespace(value=value, headers=headers)


def test_our_work_records_are_far_below_the_limit():
    """The limit holds even with the longest history that a run can have."""
    check_size(record(work().to_bytes(), redriven_from=b"x" * MAX_HISTORY_BYTES, traceparent=b"00-" + b"1" * 500))
    assert len(work().to_bytes()) < MAX_WORK_BYTES / 20


@pytest.mark.parametrize("headers", [False, True])
def test_a_work_record_above_the_limit_is_poison(headers: bool):
    """A work record above the limit is poison, because a worker could not quote it in the log of the run."""
    large = orjson.dumps({**orjson.loads(work().to_bytes()), "note": "x" * MAX_WORK_BYTES})
    assert decode(Work, large) == work()
    with pytest.raises(PoisonError, match=rf"a work record of \d+ bytes; expected at most {MAX_WORK_BYTES}"):
        check_size(record(work().to_bytes(), note=large) if headers else record(large))
