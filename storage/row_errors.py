"""Maps the exceptions of httpx and postgrest to our errors in one table."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx
from postgrest import APIError
from supabase import AsyncSupabaseException

from core.errors import ConfigurationError, ExtentsError, PermanentError, TransientError

TABLE: Final[tuple[tuple[type[ExtentsError], tuple[type[Exception], ...]], ...]] = (
    (ConfigurationError, (httpx.UnsupportedProtocol, httpx.InvalidURL, AsyncSupabaseException)),
    (PermanentError, (httpx.LocalProtocolError, httpx.TooManyRedirects, httpx.CookieConflict, httpx.StreamError, httpx.HTTPStatusError)),
    (TransientError, (httpx.TransportError, httpx.DecodingError, TimeoutError, OSError)),
)
"""The first match wins. PostgREST's responses (``APIError``) are judged by their code below, some statuses by ``judge_status``."""

TRANSIENT_STATUSES: Final = frozenset({408, 425, 429})
TRANSIENT_CODES: Final = frozenset({"25006"})
"""Transient PostgreSQL errors that PostgREST returns as 4xx: the database is read-only while a standby takes over or a disk is full."""

_SETTINGS: Final = {
    "42501": "SUPABASE_SERVICE_ROLE_KEY: it must be the service role's, and the migrations grant it its rights",
    "PGRST106": "SUPABASE_SCHEMA and the API's list of exposed schemas",
    "3F000": "SUPABASE_SCHEMA",
    "PGRST202": "that the migrations are applied (extents migrations print), and the API's schema cache reloaded",
    "PGRST205": "that the migrations are applied (extents migrations print), and the API's schema cache reloaded",
    "42P01": "that the migrations are applied (extents migrations print)",
    "42883": "that the migrations are applied (extents migrations print)",
    "404": "SUPABASE_URL",
}


async def judge_status(response: httpx.Response) -> None:
    """Event hook of the HTTP client that judges a response by its status alone, including those of a gateway.

    Needed because postgrest keeps only the code from the body, not the status, and a gateway's body has no code.
    """
    if response.status_code >= 500 or response.status_code in TRANSIENT_STATUSES:
        raise TransientError(f"the database's API answered {await _response_text(response)}")
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise ConfigurationError(f"the database's API answered {await _response_text(response)}; check SUPABASE_SERVICE_ROLE_KEY")


async def _response_text(response: httpx.Response) -> str:
    return f"{response.status_code}: {(await response.aread()).decode(errors='replace')[:500]}"


@contextmanager
def mapped(subject: str) -> Iterator[None]:
    """Raise our error in place of a vendor's. Its message begins with ``subject``."""
    try:
        yield
    except (TransientError, ConfigurationError) as error:  # from ``judge_status``, which does not know the subject
        raise type(error)(f"{subject}: {error}") from error
    except APIError as error:
        if error.code in TRANSIENT_CODES:
            raise TransientError(f"{subject}: {error.code} {error.message}") from error
        hint = _SETTINGS.get(error.code or "")
        if hint is not None:
            raise ConfigurationError(f"{subject}: {error.code} {error.message}; check {hint}") from error
        raise PermanentError(f"{subject}: {error.code} {error.message} {error.details or ''}".rstrip()) from error
    except Exception as error:
        for error_class, vendor_classes in TABLE:
            if isinstance(error, vendor_classes):
                limit = "; SUPABASE_TIMEOUT_SECONDS is the limit" if isinstance(error, (httpx.TimeoutException, TimeoutError)) else ""
                raise error_class(f"{subject}: {type(error).__name__}: {error}{limit}") from error
        raise
