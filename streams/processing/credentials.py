"""Faust's login to the brokers."""

from faust import SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT

from core.settings import KafkaSettings
from streams.kafka.connection import login, ssl_context


def faust_credentials(kafka: KafkaSettings) -> CredentialsT | None:
    """Build Faust's credentials from the settings. Faust treats SASL without an SSL context as plaintext."""
    context = ssl_context(kafka)
    if kafka.security_protocol.startswith("SASL"):
        username, password = login(kafka)
        return SASLCredentials(username=username, password=password, ssl_context=context, mechanism=kafka.sasl_mechanism)
    return None if context is None else SSLCredentials(context)
