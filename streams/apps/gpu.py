"""The GPU worker's app, made from the environment."""

from core.logging import configure_logging
from core.settings import GPU_WORKER_SECTIONS, Settings
from streams.gpu_worker import create_gpu_worker

_settings = Settings().check(GPU_WORKER_SECTIONS)
configure_logging(_settings.process)
app = create_gpu_worker(_settings)
