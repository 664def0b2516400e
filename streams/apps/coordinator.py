"""The coordinator's app, made from the environment."""

from core.logging import configure_logging
from core.settings import Settings
from streams.coordinator import create_coordinator

_settings = Settings().check()
configure_logging(_settings.process)
app = create_coordinator(_settings)
