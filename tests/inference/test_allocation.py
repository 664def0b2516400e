"""Freed memory stays with the process."""

import subprocess
import sys

TOUCH_TWICE = """
import resource
import numpy as np
from inference.engine.allocation import disable_heap_trimming

def faults_of_a_large_block():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(100 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

disable_heap_trimming()
print(faults_of_a_large_block(), faults_of_a_large_block())
"""


def test_a_large_block_is_taken_again():
    """A second allocation of a large block reuses its pages and so causes hardly any page faults."""
    done = subprocess.run([sys.executable, "-c", TOUCH_TWICE], capture_output=True, text=True, check=True)
    first, second = map(int, done.stdout.split())
    assert second < first / 10, f"{first} faults, then {second}"
