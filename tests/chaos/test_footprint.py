"""Whether a process grows, as judged from its samples."""

import os
from itertools import count
from pathlib import Path

from tests.chaos.footprint import Growth, Sample, growth, table, take_sample


def _grown(memory_mib: list[float], descriptors: list[int]) -> dict[str, Growth]:
    samples = [Sample(5.0 * i, memory, files, 12) for i, memory, files in zip(count(), memory_mib, descriptors, strict=False)]
    return {item.measure: item for item in growth("gpu-1", samples)}


def test_a_leak_is_recognised() -> None:
    """Memory that grows by a third from the second to the last quarter is too much, and so is one more open file every minute."""
    growths = _grown([200 + i for i in range(240)], [30 + i // 12 for i in range(240)])
    assert {measure for measure, item in growths.items() if item.too_much} == {"memory, MiB", "descriptors"}
    memory = growths["memory, MiB"]
    assert (memory.start, memory.second_quarter, memory.last_quarter, round(memory.an_hour)) == (200, 289.5, 409.5, 720)
    assert table(list(growths.values())).count("GROWS") == 2


def test_a_filling_cache_is_not_a_leak() -> None:
    """Memory that is taken in the first quarter and kept, or that comes and goes, is not growth."""
    growths = _grown([200 + min(i, 50) + i % 7 for i in range(240)], [30 + i % 5 for i in range(240)])
    assert not any(item.too_much for item in growths.values())


def test_a_sample_of_this_process(tmp_path: Path) -> None:
    """Opening a file adds one descriptor, and the memory is plausible for a Python process."""
    before = take_sample(os.getpid(), 0.0)
    with (tmp_path / "file").open("w"):
        during = take_sample(os.getpid(), 1.0)
    assert (during.descriptors - before.descriptors, during.seconds) == (1, 1.0)
    assert 5 < before.memory_mib < 100_000
    assert before.threads >= 1
