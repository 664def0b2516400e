"""Detects a C++ compiler, which compiling needs and a machine may lack."""

import pytest
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler

from tests.conftest import NEEDS_COMPILER


def has_compiler() -> bool:
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return False
    return True


needs_compiler = pytest.mark.skipif(not has_compiler(), reason=NEEDS_COMPILER)
