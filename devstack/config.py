"""A stack's configuration: size, secrets and ports. Stored in its folder, so that a restart uses the same."""

import json
import secrets
import time
import uuid
from base64 import urlsafe_b64encode
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import jwt

from core.errors import ConfigurationError
from devstack.ports import HOST, choose_ports

FILE: Final = "stack.json"
LOCK_FILE: Final = "lock"  # locked by the supervisor while it lives; contains its process id
STATE_FILE: Final = "state.json"  # the servers' process ids; exists once all of them work

USUAL_PORTS: Final = {"kafka-1": 9092, "kafka-2": 9094, "kafka-3": 9096, "s3": 8333, "rest": 54321, "postgres": 54322}
"""The servers' default ports. The last two are those of Supabase's local stack, because PostgreSQL's own is often in use."""

_INNER_PORTS: Final = ["postgrest", *(f"{part}{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", "-grpc"))]

_TOKEN_SECONDS: Final = 10 * 365 * 24 * 3600  # like Supabase's own keys: ten years


@dataclass(frozen=True, slots=True)
class StackConfig:
    """Everything the servers and their clients must agree on.

    Attributes:
        ports: by name; ``kafka-N`` and ``controller-N`` for each broker N from 1. A proxied stack also has ``proxy-N``, which the
            broker advertises to clients of the proxy, and ``behind-N``, where it listens for the proxy.
        tokens_expire: seconds since 1970; fixed, so that the same claims always produce the same key.
        access_key, secret_key: used by the service, which may read, write and list its buckets but not create them.
        admin_access_key, admin_secret_key: used by the stack itself to create buckets.
    """

    brokers: int
    cluster_id: str
    schema: str
    bucket: str
    region: str
    jwt_secret: str
    tokens_expire: int
    postgres_password: str
    authenticator_password: str
    access_key: str
    secret_key: str
    admin_access_key: str
    admin_secret_key: str
    ports: dict[str, int]

    @property
    def broker_names(self) -> list[str]:
        return [f"kafka-{node}" for node in range(1, self.brokers + 1)]

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"{HOST}:{self.ports[name]}" for name in self.broker_names)

    @property
    def proxies(self) -> dict[int, int]:
        """Each broker's ports in a proxied stack: the one that its proxy must listen on, and the one that the proxy must forward to."""
        nodes = range(1, self.brokers + 1)
        return {self.ports[f"proxy-{node}"]: self.ports[f"behind-{node}"] for node in nodes if f"proxy-{node}" in self.ports}

    @property
    def s3_url(self) -> str:
        return f"http://{HOST}:{self.ports['s3']}"

    @property
    def rest_url(self) -> str:
        """Supabase's project URL; the REST API is at ``/rest/v1`` below it."""
        return f"http://{HOST}:{self.ports['rest']}"

    @property
    def anon_key(self) -> str:
        return self.token("anon")

    @property
    def service_role_key(self) -> str:
        return self.token("service_role")

    def dsn(self, role: str = "postgres") -> str:
        """Connection URL of the database for ``postgres`` (its owner in Supabase), ``supabase_admin`` or ``authenticator``."""
        password = self.authenticator_password if role == "authenticator" else self.postgres_password
        return f"postgresql://{role}:{password}@{HOST}:{self.ports['postgres']}/postgres"

    def token(self, role: str, **claims: object) -> str:
        """A signed token as Supabase issues it: API keys contain only a role, users' tokens also claims such as ``tenant_id``."""
        payload = {"iss": "extents-devstack", "role": role, "exp": self.tokens_expire, **claims}
        return jwt.encode(payload, self.jwt_secret, algorithm="HS256")

    def environment(self) -> dict[str, str]:
        """The variables that point the service at the stack: exactly those that it reads in production."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
            "KAFKA_REPLICATION_FACTOR": str(self.brokers),
            "KAFKA_MIN_INSYNC_REPLICAS": str(min(self.brokers, 2)),
            "WASABI_ACCESS_KEY": self.access_key,
            "WASABI_SECRET_KEY": self.secret_key,
            "WASABI_BUCKET": self.bucket,
            "WASABI_REGION": self.region,
            "WASABI_ENDPOINT": self.s3_url,
            "SUPABASE_URL": self.rest_url,
            "SUPABASE_SERVICE_ROLE_KEY": self.service_role_key,
            "SUPABASE_SCHEMA": self.schema,
            "EXTENTS_HTTP_HOST": HOST,
        }


def load_config(folder: Path) -> StackConfig | None:
    """Return the stack of this folder, or None if there is none yet."""
    try:
        return StackConfig(**json.loads((folder / FILE).read_text()))
    except FileNotFoundError:
        return None


def prepare_config(folder: Path, *, brokers: int | None, usual_ports: bool, proxied: bool = False) -> StackConfig:
    """Return the folder's stack, or a new one with ports that are free now.

    Args:
        brokers: 1 or 3; None keeps an existing stack's number, and means 1 for a new stack.
        usual_ports: whether a new stack tries ``USUAL_PORTS`` first.
        proxied: whether each broker has a second address, for a proxy in front of it.

    Raises:
        ConfigurationError: the folder contains a stack of another size.
    """
    config = load_config(folder)
    if config is None:
        config = _new_config(brokers or 1)
    elif brokers not in (None, config.brokers):
        raise ConfigurationError(
            f"{folder} contains a stack of {config.brokers} broker(s), not {brokers}; "
            f"its topics cannot be moved: delete it with `extents dev down --name {folder.name} --purge`, or use another --name"
        )
    preferred = {**(USUAL_PORTS if usual_ports else {}), **config.ports}
    controllers = [f"controller-{node}" for node in range(1, config.brokers + 1)]
    names = [*config.broker_names, *controllers, "postgres", "rest", *_INNER_PORTS]
    if proxied:
        names += [f"{kind}-{node}" for node in range(1, config.brokers + 1) for kind in ("proxy", "behind")]
    config = replace(config, ports=choose_ports(names, preferred))
    _save(config, folder)
    return config


def _new_config(brokers: int) -> StackConfig:
    return StackConfig(
        brokers=brokers,
        cluster_id=urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="),
        schema="captionacc_production",
        bucket="captionacc",
        region="us-east-1",
        jwt_secret=secrets.token_hex(32),
        tokens_expire=int(time.time()) + _TOKEN_SECONDS,
        postgres_password=secrets.token_hex(16),
        authenticator_password=secrets.token_hex(16),
        access_key=secrets.token_hex(10).upper(),
        secret_key=secrets.token_hex(20),
        admin_access_key=secrets.token_hex(10).upper(),
        admin_secret_key=secrets.token_hex(20),
        ports={},
    )


def _save(config: StackConfig, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE
    file.touch(mode=0o600)  # it holds secrets
    file.write_text(json.dumps(asdict(config), indent=2))
