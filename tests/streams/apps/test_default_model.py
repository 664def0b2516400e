"""The default model of runs is loaded before a GPU worker joins its group."""

from types import SimpleNamespace

import pytest

from core.errors import ConfigurationError, ExtentsError, TransientError, UnknownModelError
from core.settings import AdmissionSettings
from core.types import Precision
from streams.apps.gpu_worker import default_model_loaded


class Worker:
    """An engine, a catalogue and a cache that record calls and may fail."""

    def __init__(self, fault: ExtentsError | None = None) -> None:
        self.fault, self.loaded = fault, list[tuple[object, ...]]()

    async def resolve(self, version: str) -> SimpleNamespace:
        if self.fault is not None:
            raise self.fault
        return SimpleNamespace(version=version, checkpoint_sha256="ab")

    async def weights(self, version: str, sha256: str) -> str:
        return f"{version}/{sha256}"

    async def load(self, version, sha256, precision, weights) -> None:
        self.loaded.append((version, sha256, precision, await weights()))

    async def start(self, model_version: str | None) -> None:
        settings = AdmissionSettings(_env_file=None, model_version=model_version, precision=Precision.BFLOAT16)
        async with default_model_loaded(self, self, self, settings):
            pass


async def test_it_is_loaded_in_the_precision_of_runs():
    """The model of the settings is loaded with its weights; without one, the built-in model is loaded."""
    worker = Worker()
    await worker.start("mrn0fkfd")
    assert worker.loaded == [("mrn0fkfd", "ab", Precision.BFLOAT16, "mrn0fkfd/ab")]
    await worker.start(None)
    assert len(worker.loaded) == 1


@pytest.mark.parametrize("fault", [UnknownModelError("no such model"), TransientError("the store is away")])
async def test_a_worker_starts_without_it(fault):
    """A worker starts although the default model cannot be loaded, and loads it when a run needs it."""
    worker = Worker(fault)
    await worker.start("mrn0fkfd")
    assert worker.loaded == []


async def test_a_wrong_setting_ends_the_worker():
    """If a setting is wrong, the worker ends with the reason before it takes work."""
    with pytest.raises(ConfigurationError, match="WASABI_SECRET_KEY"):
        await Worker(ConfigurationError("check WASABI_SECRET_KEY")).start("mrn0fkfd")
