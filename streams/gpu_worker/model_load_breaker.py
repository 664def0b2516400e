"""Suspends models that do not load on this worker. After a pause, one span tries to load the model again for all."""

import time
from dataclasses import dataclass
from typing import Final

from core.errors import ExtentsError, TransientError
from core.logging import get_logger
from core.metrics import MODELS_SUSPENDED
from streams.runtime.backoff import pause_after

log = get_logger(__name__)

FIRST_PAUSE_SECONDS: Final = 1.0
"""Shorter than the delay of a resent span, so that its next try also tries the load here if there is no other worker."""
MAX_PAUSE_SECONDS: Final = 60.0


class ModelLoadError(TransientError):
    """A model currently does not load on this worker: its object is missing or damaged, or memory is short. Another worker may load it.

    Attributes:
        retry_seconds: time until this worker tries again.
    """

    def __init__(self, message: str, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


@dataclass(frozen=True, slots=True)
class _Suspension:
    model_version: str
    error: str
    failures: int
    retry_at: float

    @property
    def retry_seconds(self) -> float:
        return max(0.0, self.retry_at - time.monotonic())

    def to_error(self) -> ModelLoadError:
        return ModelLoadError(f"model {self.model_version} does not load: {self.error}", self.retry_seconds)


class ModelLoadBreaker:
    """A circuit breaker for each model that failed to load. Owned by the event loop; loads do not overlap."""

    def __init__(self) -> None:
        self._suspensions: dict[str, _Suspension] = {}
        MODELS_SUSPENDED.set_function(lambda: len(self._suspended()))

    def check(self, checkpoint_sha256: str) -> None:
        """Raises: ModelLoadError: the model failed to load and is still suspended."""
        suspension = self._suspensions.get(checkpoint_sha256)
        if suspension is not None and suspension.retry_seconds > 0:
            raise suspension.to_error()

    def failed(self, checkpoint_sha256: str, model_version: str, error: ExtentsError) -> ModelLoadError:
        """Suspend the model, for longer each time. Returns the error to raise."""
        previous = self._suspensions.get(checkpoint_sha256)
        failures = previous.failures + 1 if previous else 1
        pause = pause_after(failures, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        suspension = _Suspension(model_version, str(error), failures, time.monotonic() + pause)
        self._suspensions[checkpoint_sha256] = suspension
        log.warning("model.suspended", model_version=model_version, error=str(error), pause_seconds=pause)
        return suspension.to_error()

    def loaded(self, checkpoint_sha256: str) -> None:
        """Record that the model has loaded."""
        suspension = self._suspensions.pop(checkpoint_sha256, None)
        if suspension is not None:
            log.info("model.recovered", model_version=suspension.model_version)

    def wait_reason(self) -> str | None:
        """The reason to report in readiness. A model whose pause is over does not count, because perhaps no span needs it any more."""
        return (
            "; ".join(f"{suspension.to_error()}; retried in {suspension.retry_seconds:.0f} s" for suspension in self._suspended()) or None
        )

    def _suspended(self) -> list[_Suspension]:
        return [suspension for suspension in self._suspensions.values() if suspension.retry_seconds > 0]
