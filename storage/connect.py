"""Opens the store and the database with the service's settings."""

from core.settings import KeySettings, SupabaseSettings, WasabiSettings
from storage.database import RowsConfig
from storage.keys import Keys
from storage.listings import Listings
from storage.objects import ObjectStore, ObjectStoreConfig
from storage.replays import Replays
from storage.rows import Rows


def open_store(settings: WasabiSettings, keys: Keys | None = None) -> ObjectStore:
    """Return the store, to be entered as a context manager.

    Args:
        keys: where our objects are, so that only those are probed; the default templates if None.
    """
    return ObjectStore(
        ObjectStoreConfig(
            bucket=settings.bucket,
            access_key=settings.access_key,
            secret_key=settings.secret_key.get_secret_value(),
            region=settings.region,
            endpoint_url=settings.endpoint_url,
            pool_size=settings.pool_size,
            timeout_seconds=settings.timeout_seconds,
            probe_prefix=keys.videos_prefix if keys else "videos/",
        )
    )


def open_rows(settings: SupabaseSettings) -> Rows:
    """Return the database, to be entered as a context manager."""
    return Rows(rows_config(settings))


def open_listings(settings: SupabaseSettings) -> Listings:
    """Return the same database for lists and figures, to be entered as a context manager."""
    return Listings(rows_config(settings))


def open_replays(settings: SupabaseSettings) -> Replays:
    """Return the same database for replays, to be entered as a context manager."""
    return Replays(rows_config(settings))


def rows_config(settings: SupabaseSettings) -> RowsConfig:
    return RowsConfig(
        url=settings.url,
        service_role_key=settings.service_role_key.get_secret_value(),
        schema=settings.schema_name,
        timeout_seconds=settings.timeout_seconds,
    )


def object_keys(settings: KeySettings) -> Keys:
    return Keys(settings.chunk, settings.layout, settings.run_db, settings.model)
