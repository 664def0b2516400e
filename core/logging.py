"""structlog on top of the standard library's logging. An event is a constant dotted name; its values are fields."""

import json
import logging
import sys
from typing import Any

import orjson
import structlog

from core.log_limits import RepeatLimit
from core.redaction import redact, redact_json
from core.settings import ProcessSettings

QUIET_LIBRARIES = dict.fromkeys(("aiobotocore", "aiokafka", "botocore", "faust", "hpack", "httpcore", "httpx", "mode"), logging.WARNING)
"""Loggers that report every request, or every step of their start-up, at INFO."""


_tracebacks = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
"""Without local variables, which may contain secrets."""


def _serialize(value: Any, **_: Any) -> str:
    try:
        line = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # for a path that is not UTF-8, or an integer of more than 64 bits
        line = json.dumps(value, default=str).encode()
    return redact_json(line).decode()


def _render_text() -> structlog.typing.Processor:
    render = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    return lambda logger, name, event: redact(str(render(logger, name, event)))


def configure_logging(settings: ProcessSettings) -> None:
    """Send this process's log, including that of the libraries, to standard error, one line for each event."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: list[structlog.typing.Processor] = (
        [_tracebacks, structlog.processors.JSONRenderer(serializer=_serialize)] if settings.log_format == "json" else [_render_text()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer]
        )
    )
    handler.addFilter(RepeatLimit())
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)
    for name, level in QUIET_LIBRARIES.items():
        logging.getLogger(name).setLevel(level)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
