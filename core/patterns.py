"""Strings of a fixed form, which pydantic checks on input."""

from typing import Annotated

from pydantic import StringConstraints

from core.types import MODEL_VERSION

ModelVersion = Annotated[str, StringConstraints(pattern=f"^{MODEL_VERSION.pattern}$")]

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""In lower case, as the hashes of weights, layouts and run databases are written."""
