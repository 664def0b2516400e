"""How values are read from variables: trimmed, checked at once, secrets from files; and unknown variables."""

import pytest

from core.errors import ConfigurationError
from core.redaction import MASK, redact
from core.settings import KafkaSettings, Settings, SupabaseSettings, WasabiSettings, read_section
from core.variables import unknown_variables
from tests.core.test_settings import COMPLETE, environment  # noqa: F401 - a fixture

SECRETS = {"WASABI_SECRET_KEY": WasabiSettings, "SUPABASE_SERVICE_ROLE_KEY": SupabaseSettings, "KAFKA_SASL_PASSWORD": KafkaSettings}

pytestmark = pytest.mark.usefixtures("environment")


def secret_of(name: str) -> str:
    section = SECRETS[name]
    return getattr(read_section(section), name.partition("_")[2].lower()).get_secret_value()


def faults(section) -> str:
    with pytest.raises(ConfigurationError) as refused:
        read_section(section)
    return str(refused.value)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("value", ["planted-s3cret\n", "  planted-s3cret\t", "planted-s3cret\r\n"])
def test_whitespace_around_a_secret_is_no_part_of_it(request, name, value):
    """Whitespace around a secret is removed, for example a file's last line feed."""
    request.getfixturevalue("environment")(**{**COMPLETE, name: value})
    assert secret_of(name) == "planted-s3cret"


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("value", ["planted\ns3cret", "“planted-s3cret”", "planted\x7fs3cret", "planted\u00a0s3cret"])
def test_a_secret_that_no_header_can_carry_is_refused_by_name(request, name, value):
    """A secret with control characters or with characters beyond ASCII is rejected with its variable's name and without its value."""
    request.getfixturevalue("environment")(**{**COMPLETE, name: value})
    message = faults(SECRETS[name])
    assert f"{name}: has a" in message
    assert "planted" not in message
    assert "s3cret" not in message


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_comes_from_a_file(request, tmp_path, name):
    """A variable with _FILE names a file that holds the secret, as containers mount them; its last line feed is removed."""
    (tmp_path / "mounted").write_text("mounted-s3cret\n")
    others = {other: value for other, value in COMPLETE.items() if other != name}
    request.getfixturevalue("environment")(**others, **{f"{name}_FILE": str(tmp_path / "mounted")})
    assert secret_of(name) == "mounted-s3cret"
    assert redact("mounted-s3cret") == MASK


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read: No such file"), (b"\n", "is empty"), (b"x" * 70_000, "more than 65536 bytes"), (b"\xff\xfe", "not ASCII")],
)
def test_a_file_that_gives_no_secret_is_refused(request, tmp_path, content, says):
    """A file that is missing, empty, too large or not text gives an error that names the variable."""
    if content is not None:
        (tmp_path / "mounted").write_bytes(content)
    others = {name: value for name, value in COMPLETE.items() if name != "WASABI_SECRET_KEY"}
    request.getfixturevalue("environment")(**others, WASABI_SECRET_KEY_FILE=str(tmp_path / "mounted"))
    message = faults(WasabiSettings)
    assert "WASABI_SECRET_KEY" in message
    assert says in message


def test_a_secret_given_twice_is_refused(request, tmp_path):
    """A secret that is set both directly and by a file is rejected."""
    request.getfixturevalue("environment")(**COMPLETE, WASABI_SECRET_KEY_FILE=str(tmp_path / "mounted"))
    assert "set only one of the two" in faults(WasabiSettings)


@pytest.mark.parametrize("empty", ["", "   "])
def test_an_empty_variable_is_not_set(request, empty):
    """An empty variable counts as not set: its default applies, or it is missing."""
    request.getfixturevalue("environment")(
        **{**COMPLETE, "WASABI_BUCKET": empty, "EXTENTS_MODEL_VERSION": empty, "KAFKA_SASL_USERNAME": empty}
    )
    settings = Settings()
    assert settings.admission.model_version is None
    assert settings.kafka.sasl_username is None
    assert "WASABI_BUCKET is not set" in faults(WasabiSettings)


@pytest.mark.parametrize(
    ("section", "name", "value", "says"),
    [
        (WasabiSettings, "WASABI_ENDPOINT", "s3.example.com", "with a scheme; expected http"),
        (WasabiSettings, "WASABI_ENDPOINT", "ftp://s3.example.com", "with a scheme"),
        (WasabiSettings, "WASABI_ENDPOINT", "http://me:hidden@s3", "contains a user name or password"),
        (WasabiSettings, "WASABI_ENDPOINT", "http://s3:port", "is not a URL"),
        (WasabiSettings, "WASABI_ACCESS_KEY", "“access”", "not ASCII at position 1"),
        (WasabiSettings, "WASABI_BUCKET", "s3://bucket", "WASABI_BUCKET: "),
        (WasabiSettings, "WASABI_TIMEOUT_SECONDS", "inf", "finite"),
        (SupabaseSettings, "SUPABASE_URL", "https://x.supabase.co/rest/v1", "/rest/v1; expected the project's base URL"),
        (SupabaseSettings, "SUPABASE_URL", "x.supabase.co", "with a scheme"),
        (KafkaSettings, "KAFKA_BOOTSTRAP_SERVERS", "PLAINTEXT://h:9092", "entry 1 has a scheme"),
        (KafkaSettings, "KAFKA_BOOTSTRAP_SERVERS", "one:9092, two:99999", "entry 2 is not host:port"),
        (KafkaSettings, "KAFKA_BOOTSTRAP_SERVERS", ",", "names no broker"),
        (KafkaSettings, "KAFKA_SECURITY_PROTOCOL", "SASL_SSL", "needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"),
        (KafkaSettings, "KAFKA_HEARTBEAT_INTERVAL_SECONDS", "19", "a third of KAFKA_SESSION_TIMEOUT_SECONDS"),
        (KafkaSettings, "KAFKA_REQUEST_TIMEOUT_SECONDS", "60", "above KAFKA_REBALANCE_TIMEOUT_SECONDS"),
    ],
)
def test_settings_are_checked_when_they_are_read(request, section, name, value, says):
    """A value that would only fail later, in a library, is rejected at once with what is expected, and without the value."""
    request.getfixturevalue("environment")(**{**COMPLETE, name: value})
    message = faults(section)
    assert says in message
    assert "hidden" not in message


def test_what_brokers_and_urls_may_be_is_taken(request):
    """Brokers may be names or addresses of both kinds, without a port too; a slash at the end of a URL is removed."""
    request.getfixturevalue("environment")(
        **{**COMPLETE, "KAFKA_BOOTSTRAP_SERVERS": "b-1.x_y.com:9094, 10.0.0.1, [::1]:9092", "SUPABASE_URL": "https://x.supabase.co/"}
    )
    settings = Settings()
    assert settings.kafka.servers == ["b-1.x_y.com:9094", "10.0.0.1", "[::1]:9092"]
    assert settings.supabase.url == "https://x.supabase.co"


def test_a_file_of_variables_that_is_no_text_is_named(request, tmp_path):
    """The error for a .env file that is not UTF-8 names it."""
    (tmp_path / ".env").write_bytes(b"WASABI_BUCKET=\xff\xfe")
    assert ".env cannot be read: it is not UTF-8" in faults(WasabiSettings)


def test_a_variable_that_nobody_reads_is_warned_of_with_the_nearest_name(request, tmp_path):
    """Unknown variables of the environment and of .env are reported, with the nearest setting if there is one."""
    request.getfixturevalue("environment")(
        **COMPLETE, EXTENTS_HTTP_PROT="5", SUPABASE_ANON_KEY="x", KAFKA_SASL_PASSWORD_FILE="f", OTHER="1"
    )
    (tmp_path / ".env").write_text("wasabi_bukket=b\n")
    assert Settings().unknown() == [
        "EXTENTS_HTTP_PROT is not a setting of Extents and is ignored; did you mean EXTENTS_HTTP_PORT?",
        "SUPABASE_ANON_KEY is not a setting of Extents and is ignored",
        "WASABI_BUKKET is not a setting of Extents and is ignored; did you mean WASABI_BUCKET?",
    ]


def test_what_kubernetes_sets_for_a_service_of_that_name_is_no_mistake():
    """Variables that Kubernetes sets for a service called kafka are not reported."""
    service = {
        "KAFKA_SERVICE_HOST": "10.0.0.1",
        "KAFKA_SERVICE_PORT": "9092",
        "KAFKA_SERVICE_PORT_CLIENTS": "9092",
        "KAFKA_PORT": "tcp://10.0.0.1:9092",
        "KAFKA_PORT_9092_TCP": "tcp://10.0.0.1:9092",
        "KAFKA_PORT_9092_TCP_ADDR": "10.0.0.1",
    }
    assert unknown_variables(Settings.SECTIONS, service) == []
    assert unknown_variables(Settings.SECTIONS, {"KAFKA_PORT": "9092"}) != []
