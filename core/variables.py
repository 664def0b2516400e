"""Reads settings from environment variables, and defines the types that check them.

Values are trimmed, an empty variable counts as unset, and a secret may also be in a file.

Errors name a variable and never repeat its value, which may be a secret in the wrong place.
"""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from core.redaction import register_secret

FILE_SUFFIX: Final = "_FILE"
"""``WASABI_SECRET_KEY_FILE`` names a file that holds ``WASABI_SECRET_KEY``, as containers mount secrets."""

MAX_SECRET_BYTES: Final = 64 * 1024

_KUBERNETES: Final = re.compile(r"\w+_(SERVICE_HOST=|SERVICE_PORT(_\w+)?=|PORT_\d+_(TCP|UDP)(_\w+)?=|PORT=(tcp|udp)://).*")
"""Variables that Kubernetes sets in every container for each service, including a service that is called kafka."""


def variable(section: type[BaseSettings], field: str) -> str:
    """Return the environment variable that sets a field."""
    alias = section.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"{section.model_config.get('env_prefix', '')}{field}".upper()


def is_secret(field: FieldInfo) -> bool:
    """Whether a field's value is a secret, optional or not."""
    parts = (field.annotation, *get_args(field.annotation))
    return any(part is SecretStr or SecretStr in get_args(part) for part in parts)


def _fault(message: str) -> PydanticCustomError:
    return PydanticCustomError("setting", message)


# Types of values.


def _printable(value: str) -> str:
    wrong = next((place for place, character in enumerate(value, 1) if not " " <= character <= "~"), None)
    if wrong is not None:
        kind = "a control character" if ord(value[wrong - 1]) < 32 or ord(value[wrong - 1]) == 127 else "a character that is not ASCII"
        raise _fault(f"has {kind} at position {wrong} of {len(value)}; expected printable ASCII, without quotation marks around it")
    return value


def _server_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _fault("is not a URL; expected http(s)://host[:port]") from None
    if parts.scheme not in ("http", "https") or not host:
        raise _fault("is not a URL with a scheme; expected http(s)://host[:port]")
    if parts.username is not None or parts.password is not None:
        raise _fault("contains a user name or password; expected http(s)://host[:port]; credentials have settings of their own")
    if parts.query or parts.fragment:
        raise _fault("has a query or fragment; expected http(s)://host[:port]")
    return _printable(value).rstrip("/")


def _project_url(value: str) -> str:
    url = _server_url(value)
    if "/rest/v1" in url:
        raise _fault("contains /rest/v1; expected the project's base URL, to which this path is added")
    return url


_BROKER: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?")


def _broker_list(value: str) -> str:
    servers = [server.strip() for server in value.split(",") if server.strip()]
    if not servers:
        raise _fault("names no broker; expected host:port, comma-separated")
    for place, server in enumerate(servers, 1):
        if "://" in server:
            raise _fault(f"entry {place} has a scheme; expected only host:port; KAFKA_SECURITY_PROTOCOL sets how connections are secured")
        match = _BROKER.fullmatch(server)
        if match is None or not 0 < int(match["port"] or 9092) < 65_536:
            raise _fault(f"entry {place} is not host:port")
    return value


@dataclass(frozen=True, slots=True)
class _UnreadableSecret:
    """Replaces a secret whose file cannot be used, and holds the reason."""

    message: str


def _secret(value: Any) -> Any:
    if isinstance(value, _UnreadableSecret):
        raise _fault(value.message)
    secret = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(secret, str):
        return value
    secret = secret.strip()
    register_secret(secret)
    return _printable(secret)


Secret = Annotated[SecretStr, BeforeValidator(_secret)]
Printable = Annotated[str, AfterValidator(_printable)]
ServerUrl = Annotated[str, AfterValidator(_server_url)]
ProjectUrl = Annotated[str, AfterValidator(_project_url)]
BrokerList = Annotated[str, AfterValidator(_broker_list)]


# Where values come from.


class EnvironmentSettings(BaseSettings):
    """A section of settings. Whitespace around a value is removed, and an empty variable counts as not set."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        assert isinstance(env_settings, EnvSettingsSource)
        assert isinstance(dotenv_settings, DotEnvSettingsSource)
        return init_settings, _Variables(settings_cls, {**_given(dotenv_settings.env_vars), **_given(env_settings.env_vars)})


def section_config(prefix: str) -> SettingsConfigDict:
    return SettingsConfigDict(
        env_prefix=prefix,
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        protected_namespaces=(),
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


def _given(variables: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value.strip() for name, value in variables.items() if value is not None and value.strip()}


class _Variables(PydanticBaseSettingsSource):
    def __init__(self, section: type[BaseSettings], given: Mapping[str, str]) -> None:
        super().__init__(section)
        self._given = given

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = variable(self.settings_cls, field_name)
        key = name if field.validation_alias else field_name
        value: Any = self._given.get(name.lower())
        if is_secret(field) and (path := self._given.get(f"{name}{FILE_SUFFIX}".lower())) is not None:
            if value is not None:
                value = _UnreadableSecret(f"is set, and so is {name}{FILE_SUFFIX}; set only one of the two")
            else:
                value = _read_secret(path, f"{name}{FILE_SUFFIX}")
        return value, key, False

    def __call__(self) -> dict[str, Any]:
        values = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {key: value for value, key, _ in values if value is not None}


def _read_secret(path: str, name: str) -> "str | _UnreadableSecret":
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        return _UnreadableSecret(f"the file of {name} cannot be read: {reason}")
    if len(data) > MAX_SECRET_BYTES:
        return _UnreadableSecret(f"the file of {name} has more than {MAX_SECRET_BYTES} bytes; expected one secret")
    text = data.decode(errors="replace").strip()
    return text or _UnreadableSecret(f"the file of {name} is empty")


# Variables that no setting reads.


def unknown_variables(sections: "tuple[type[EnvironmentSettings], ...]", environment: Mapping[str, str] | None = None) -> list[str]:
    """Return a sentence with the nearest name for each variable that looks like a setting but is not one, including those of ``.env``.

    Args:
        environment: the variables that are set; by default this process's.
    """
    prefixes = tuple({section.model_config["env_prefix"] for section in sections if section.model_config["env_prefix"]})
    known: set[str] = set()
    for section in sections:
        for name, field in section.model_fields.items():
            known.add(variable(section, name))
            if is_secret(field):
                known.add(f"{variable(section, name)}{FILE_SUFFIX}")
    in_file = DotEnvSettingsSource(sections[0], env_file=".env", env_file_encoding="utf-8").env_vars
    given = {name.upper(): value or "" for name, value in {**in_file, **(os.environ if environment is None else environment)}.items()}
    unknown = {name for name in given.keys() - known if name.startswith(prefixes) and not _KUBERNETES.match(f"{name}={given[name]}")}
    return [_unknown(name, known) for name in sorted(unknown)]


def _unknown(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"{name} is not a setting of Extents and is ignored" + (f"; did you mean {near[0]}?" if near else "")
