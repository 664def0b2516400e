"""What httpx and postgrest raise, mapped to our errors in one table."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx
from postgrest import APIError

from core.errors import ConfigurationError, ExtentsError, PermanentError, TransientError

TABLE: Final[tuple[tuple[type[ExtentsError], tuple[type[Exception], ...]], ...]] = (
    (ConfigurationError, (httpx.UnsupportedProtocol, httpx.InvalidURL)),
    (PermanentError, (httpx.LocalProtocolError, httpx.TooManyRedirects, httpx.CookieConflict, httpx.StreamError, httpx.HTTPStatusError)),
    (TransientError, (httpx.TransportError, httpx.DecodingError, TimeoutError, OSError)),
)
"""First match wins. PostgREST's own answers (``APIError``) are judged by their code below, a 5xx by ``refuse_server_error``."""

TRANSIENT_STATUSES: Final = frozenset({408, 425, 429})

_SETTINGS: Final = {
    "401": "SUPABASE_SERVICE_ROLE_KEY",
    "PGRST301": "SUPABASE_SERVICE_ROLE_KEY",  # a token that does not verify
    "PGRST302": "SUPABASE_SERVICE_ROLE_KEY",  # no token where one is needed
    "PGRST303": "SUPABASE_SERVICE_ROLE_KEY",  # a token whose claims do not hold, such as one that has expired
    "42501": "SUPABASE_SERVICE_ROLE_KEY: it must be the service role's, and the migrations grant it its rights",
    "PGRST106": "SUPABASE_SCHEMA and the API's list of exposed schemas",
    "3F000": "SUPABASE_SCHEMA",
    "PGRST202": "that the migrations in deploy/supabase/migrations are applied, and the API's schema cache reloaded",
    "PGRST205": "that the migrations in deploy/supabase/migrations are applied, and the API's schema cache reloaded",
    "42P01": "that the migrations in deploy/supabase/migrations are applied",
    "42883": "that the migrations in deploy/supabase/migrations are applied",
    "404": "SUPABASE_URL",
}


async def refuse_server_error(response: httpx.Response) -> None:
    """Event hook of the HTTP client: a status that may pass, whoever in front of the database gave it.

    It is judged here because postgrest keeps only the code inside a body, not the status.
    """
    if response.status_code >= 500 or response.status_code in TRANSIENT_STATUSES:
        body = (await response.aread()).decode(errors="replace")
        raise TransientError(f"the database's API answered {response.status_code}: {body[:500]}")


@contextmanager
def mapped(what: str) -> Iterator[None]:
    """Raise our error for a vendor's, its message beginning with ``what``."""
    try:
        yield
    except TransientError as error:
        raise TransientError(f"{what}: {error}") from error
    except APIError as error:
        hint = _SETTINGS.get(error.code or "")
        if hint is not None:
            raise ConfigurationError(f"{what}: {error.code} {error.message}; check {hint}") from error
        raise PermanentError(f"{what}: {error.code} {error.message} {error.details or ''}".rstrip()) from error
    except Exception as error:
        for ours, theirs in TABLE:
            if isinstance(error, theirs):
                raise ours(f"{what}: {type(error).__name__}: {error}") from error
        raise
