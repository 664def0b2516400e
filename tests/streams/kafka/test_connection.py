"""The security settings of the brokers, as passed to the clients and to Faust."""

import ssl

import certifi
import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from pydantic import ValidationError

from core.errors import ConfigurationError
from core.settings import KafkaSettings
from streams.kafka.connection import client_options
from streams.processing.credentials import faust_credentials

LOGIN = {"sasl_username": "extents", "sasl_password": "secret"}


def kafka(protocol: str, **changes: object) -> KafkaSettings:
    return KafkaSettings(_env_file=None, bootstrap_servers="broker:9093", security_protocol=protocol, **changes)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
def test_clients_and_faust_log_in_alike(protocol: str, mechanism: str) -> None:
    """For each of the four protocols, clients get protocol, mechanism, login and a context that checks the brokers' names."""
    settings = kafka(protocol, sasl_mechanism=mechanism, ssl_cafile=certifi.where(), **LOGIN)
    options = client_options(settings)
    credentials = faust_credentials(settings)
    faust = {"security_protocol": "PLAINTEXT"} if credentials is None else credentials_to_aiokafka_auth(credentials, "SSL")
    for client in (options, faust):
        assert client["security_protocol"] == protocol
        context = client.get("ssl_context")
        if protocol.endswith("SSL"):
            assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
            assert context.get_ca_certs()
        else:
            assert context is None
        if protocol.startswith("SASL"):
            assert (client["sasl_mechanism"], client["sasl_plain_username"], client["sasl_plain_password"]) == (
                mechanism,
                "extents",
                "secret",
            )
        else:
            assert "sasl_plain_password" not in client


@pytest.mark.parametrize("build", [client_options, faust_credentials])
def test_a_missing_setting_is_named(build, tmp_path) -> None:
    """A login without a password and an invalid or missing certificate file are errors that name the setting."""
    with pytest.raises(ValidationError, match="KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"):
        kafka("SASL_PLAINTEXT", sasl_username="extents")
    (tmp_path / "ca.pem").write_text("this is no certificate")
    for file in ("ca.pem", "missing.pem"):
        with pytest.raises(ConfigurationError, match=f"KAFKA_SSL_CAFILE=.*{file}.*expected a PEM file"):
            build(kafka("SSL", ssl_cafile=tmp_path / file))
