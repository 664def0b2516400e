"""Connection options for aiokafka's clients: addresses, TLS and login."""

import ssl
from typing import Any

from aiokafka.helpers import create_ssl_context

from core.errors import ConfigurationError
from core.settings import KafkaSettings
from streams.kafka import unpacking


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext | None:
    if not kafka.security_protocol.endswith("SSL"):
        return None
    try:
        context: ssl.SSLContext = create_ssl_context(cafile=str(kafka.ssl_cafile) if kafka.ssl_cafile else None)
    except OSError as error:  # includes ssl.SSLError
        raise ConfigurationError(f"KAFKA_SSL_CAFILE={kafka.ssl_cafile}: {error.strerror or error}; expected a PEM file") from error
    return context


def login(kafka: KafkaSettings) -> tuple[str, str]:
    if kafka.sasl_username is None or kafka.sasl_password is None:
        raise ConfigurationError(f"KAFKA_SECURITY_PROTOCOL={kafka.security_protocol} needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD")
    return kafka.sasl_username, kafka.sasl_password.get_secret_value()


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the keyword arguments common to aiokafka's consumers, producers and admin clients. Also installs ``unpacking``."""
    unpacking.install()
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.servers,
        "security_protocol": kafka.security_protocol,
        "ssl_context": ssl_context(kafka),
    }
    if kafka.security_protocol.startswith("SASL"):
        username, password = login(kafka)
        options |= {"sasl_mechanism": kafka.sasl_mechanism, "sasl_plain_username": username, "sasl_plain_password": password}
    return options
