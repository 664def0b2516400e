"""Settings from the environment: what is read, and what errors say."""

import os

import pytest

from core.errors import ConfigurationError
from core.settings import (
    AdmissionSettings,
    KafkaSettings,
    KeySettings,
    ProcessSettings,
    Settings,
    SupabaseSettings,
    TopicSettings,
    WasabiSettings,
    WorkerSettings,
    read_section,
    variable,
)
from core.types import Precision

COMPLETE = {
    "KAFKA_BOOTSTRAP_SERVERS": "one:9092, two:9092",
    "WASABI_ACCESS_KEY": "access",
    "WASABI_SECRET_KEY": "s3cret-of-the-store",
    "WASABI_BUCKET": "bucket",
    "SUPABASE_URL": "http://127.0.0.1:1",
    "SUPABASE_SERVICE_ROLE_KEY": "s3cret-of-the-database",
}
SECRETS = ("s3cret-of-the-store", "s3cret-of-the-database", "s3cret-of-the-brokers")


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Clears the service's settings, and returns a function that sets variables."""
    for name in list(os.environ):
        if name.startswith(("KAFKA_", "WASABI_", "SUPABASE_", "EXTENTS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def give(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return give


def test_a_complete_environment_is_enough(environment):
    """If all variables without a default are set, every section can be read."""
    environment(**COMPLETE)
    settings = Settings().check()
    assert settings.kafka.servers == ["one:9092", "two:9092"]
    assert settings.wasabi.endpoint_url == "https://s3.us-east-1.wasabisys.com"
    assert settings.supabase.schema_name == "captionacc_production"
    assert settings.admission.precision is Precision.FLOAT32


def test_the_endpoint_follows_the_region_unless_given(environment):
    """The endpoint is Wasabi's for the region, unless another S3 server is set."""
    environment(**COMPLETE, WASABI_REGION="eu-central-1")
    assert read_section(WasabiSettings).endpoint_url == "https://s3.eu-central-1.wasabisys.com"
    environment(WASABI_ENDPOINT="http://127.0.0.1:8333")
    assert read_section(WasabiSettings).endpoint_url == "http://127.0.0.1:8333"


@pytest.mark.parametrize("missing", list(COMPLETE))
def test_a_missing_variable_is_named(environment, missing):
    """The error for a missing variable names it and the page to read."""
    environment(**{name: value for name, value in COMPLETE.items() if name != missing})
    with pytest.raises(ConfigurationError, match=f"{missing} is not set.*docs/configuration.md"):
        Settings().check()


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        (AdmissionSettings, "EXTENTS_PRECISION", "float8"),
        (AdmissionSettings, "EXTENTS_MODEL_VERSION", "../model"),
        (AdmissionSettings, "EXTENTS_MAX_FRAME_COUNT", "1"),
        (AdmissionSettings, "EXTENTS_MAX_COST_USD", "cheap"),
        (AdmissionSettings, "EXTENTS_QUEUE_LIMIT", "0"),
        (WorkerSettings, "EXTENTS_DEVICE", "tpu"),
        (WorkerSettings, "EXTENTS_COMPILE", "perhaps"),
        (TopicSettings, "EXTENTS_TOPIC_PREFIX", "a/b"),
        (TopicSettings, "EXTENTS_RESULTS_PARTITIONS", "-1"),
        (ProcessSettings, "EXTENTS_HTTP_PORT", "70000"),
        (ProcessSettings, "EXTENTS_LOG_LEVEL", "LOUD"),
        (KafkaSettings, "KAFKA_SECURITY_PROTOCOL", "TLS"),
        (SupabaseSettings, "SUPABASE_SCHEMA", "public; drop table"),
    ],
)
def test_a_wrong_value_names_its_variable_and_is_not_repeated(environment, section, name, value):
    """The error for a wrong value names the variable, but not the value, which may be a misplaced secret."""
    environment(**{**COMPLETE, name: value})
    with pytest.raises(ConfigurationError, match=f"{name}: ") as refused:
        read_section(section)
    assert value not in str(refused.value).replace(name, "") or len(value) < 3


def test_all_faults_are_reported_at_once(environment):
    """One error reports all faults of all sections."""
    environment(EXTENTS_PRECISION="float8", KAFKA_SASL_USERNAME="u", EXTENTS_HTTP_PORT="x")
    with pytest.raises(ConfigurationError) as refused:
        Settings().check()
    for name in (*COMPLETE, "EXTENTS_PRECISION", "EXTENTS_HTTP_PORT"):
        assert name in str(refused.value)


def test_no_secret_is_ever_shown(environment):
    """Neither the settings nor errors about them show a secret's value."""
    environment(**COMPLETE, KAFKA_SASL_PASSWORD="s3cret-of-the-brokers", KAFKA_REPLICATION_FACTOR="many", WASABI_POOL_SIZE="0")
    shown = [repr(read_section(SupabaseSettings)), str(read_section(SupabaseSettings).model_dump())]
    for section in (KafkaSettings, WasabiSettings):
        with pytest.raises(ConfigurationError) as refused:
            read_section(section)
        chained = refused.value.__context__ if not refused.value.__suppress_context__ else None
        shown += [str(refused.value), str(chained)]
    assert not [text for text in shown for secret in SECRETS if secret in text]


def test_env_file_is_read_and_the_environment_comes_before_it(environment, tmp_path):
    """The file .env in the working directory supplies variables that the environment does not set."""
    lines = [f"{name}={value}" for name, value in COMPLETE.items()] + ["EXTENTS_QUEUE_LIMIT=7", "EXTENTS_QUEUE_LIMIT_TENANT=3", "OTHER=1"]
    (tmp_path / ".env").write_text("\n".join(lines))
    environment(EXTENTS_QUEUE_LIMIT="9")
    settings = Settings().check()
    assert (settings.admission.queue_limit, settings.admission.queue_limit_tenant) == (9, 3)
    assert settings.wasabi.bucket == "bucket"


def test_a_command_needs_only_what_it_touches(environment):
    """Sections whose settings all have defaults can be used without any variable."""
    settings = Settings()
    assert settings.worker.device == "auto"
    assert settings.process.http_port == 9464
    with pytest.raises(ConfigurationError, match="WASABI_ACCESS_KEY"):
        _ = settings.wasabi


def read_or_refusal(section, field: str) -> object:
    try:
        return getattr(read_section(section), field)
    except ConfigurationError as error:
        return error


@pytest.mark.parametrize("section", Settings.SECTIONS, ids=lambda section: section.__name__)
def test_every_variable_is_read_by_its_documented_name(section, environment, monkeypatch):
    """Each variable with its documented name changes its setting, or is named in the error."""
    environment(**COMPLETE)
    for field in section.model_fields:
        name, before = variable(section, field), read_or_refusal(section, field)
        with monkeypatch.context() as change:
            change.setenv(name, {int: "7", float: "7.5", bool: "true"}.get(type(before), "7x"))
            after = read_or_refusal(section, field)
        assert after != before
        assert not isinstance(after, ConfigurationError) or name in str(after)


def test_settings_do_not_change(environment):
    """Settings cannot be changed once they are read."""
    environment(**COMPLETE)
    kafka = read_section(KafkaSettings)
    with pytest.raises(ValueError, match="frozen"):
        kafka.bootstrap_servers = "other:9092"


def test_key_templates_are_settings(environment):
    """The keys of stored objects can be changed."""
    environment(EXTENTS_KEY_LAYOUT="layouts/{tenant_id}/{video_id}.db")
    assert read_section(KeySettings).layout == "layouts/{tenant_id}/{video_id}.db"
