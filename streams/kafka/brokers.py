"""Connects to the brokers for a few requests, and raises an error where the workers' own clients would wait."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from core.errors import ConfigurationError, TransientError
from core.settings import KafkaSettings
from streams.kafka.connection import client_options


@asynccontextmanager
async def brokers(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Connect to the brokers.

    Raises:
        TransientError: the brokers are unreachable, or a request within the context fails. aiokafka only logs the cause, and does
            not distinguish a refused login from a wrong address.
    """
    admin = AIOKafkaAdminClient(**client_options(kafka))
    try:
        await admin.start()
        yield admin
    except KafkaError as error:
        raise TransientError(
            f"brokers at {kafka.bootstrap_servers} ({kafka.security_protocol}): {error}; check the KAFKA_* settings and the brokers"
        ) from error
    finally:
        await admin.close()


async def require_topics(kafka: KafkaSettings, names: Sequence[str]) -> None:
    """Check that topics exist. A client that uses a missing topic would wait for it silently.

    Raises:
        TransientError: the brokers are unreachable.
        ConfigurationError: a topic is missing.
    """
    async with brokers(kafka) as admin:
        missing = sorted(set(names) - set(await admin.list_topics()))
    if missing:
        raise ConfigurationError(
            f"no topic {missing[0]} on the brokers at {kafka.bootstrap_servers}; check EXTENTS_TOPIC_PREFIX, or run: extents topics create"
        )
