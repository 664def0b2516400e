"""``extents doctor`` checks every dependency, names each fault, and says how to fix it."""

import asyncio
import json
import os
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from cli.service.checks import CODECS
from core.errors import ConfigurationError
from core.settings import KafkaSettings, TopicSettings, WasabiSettings
from inference.models.builtin import builtin_model_version
from storage.connect import open_store
from storage.objects import ObjectStore
from streams.kafka.topic_admin import ensure_topics
from streams.topics import Topics, TopicSpec
from tests.cli.conftest import RunCommand
from tests.cli.processes import clean_environment

OK = ("ok", "warning")  # without a GPU, the device is a warning


@pytest.fixture
def environment(namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The settings of a complete installation on the shared stack, whose topics do not exist yet."""
    monkeypatch.chdir(tmp_path)
    for name in set(clean_environment()) ^ set(os.environ):
        monkeypatch.delenv(name)
    small = {f"EXTENTS_{kind}_PARTITIONS": "1" for kind in ("REQUEST", "WORK", "RESULTS")}
    for name, value in {**namespace.env, **small, "EXTENTS_MODEL_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def topics(environment: None) -> None:
    asyncio.run(ensure_topics(Topics(TopicSettings()).specs(), KafkaSettings()))


def checks_by_name(extents: RunCommand, status: int, *options: str) -> dict[str, dict[str, str]]:
    """Run the checks, and return each result by its name."""
    done = extents("doctor", "--json", *options)
    assert (done.status, done.err) == (status, "")
    return {result["check"]: result for result in json.loads(done.out)}


def faults(checks: dict[str, dict[str, str]]) -> list[str]:
    return [name for name, result in checks.items() if result["state"] == "fault"]


@pytest.mark.usefixtures("topics")
def test_a_complete_installation_is_in_order(extents) -> None:
    """Every check of a complete installation passes, except a warning without a GPU; no object is left in the bucket."""
    done = extents("doctor")
    assert (done.status, done.err) == (0, "")
    lines = [line for line in done.out.splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in lines[:-1]] == ["ok"] * 6
    assert lines[-1].startswith(("ok       device ", "warning  device        no GPU is used"))
    assert f"{builtin_model_version()}: loads and predicts in float32" in done.out

    async def keys() -> list[str]:
        async with open_store(WasabiSettings()) as store:
            return [key async for key in store.list_keys("")]

    assert asyncio.run(keys()) == []


@pytest.mark.usefixtures("topics")
def test_the_codecs_are_listed_and_a_missing_one_is_a_warning(extents, monkeypatch: pytest.MonkeyPatch) -> None:
    """The brokers' check lists the compressions that this process reads; one without its library is named, with what to install."""
    assert checks_by_name(extents, 0)["brokers"]["found"].endswith("; reads gzip, snappy, lz4, zstd")
    monkeypatch.setattr("cli.service.checks.CODECS", {**CODECS, "zstd": lambda: False})
    brokers = checks_by_name(extents, 0)["brokers"]
    assert brokers["state"] == "warning"
    assert "compressed with zstd" in brokers["found"]
    assert "install cramjam" in brokers["found"]


@pytest.mark.usefixtures("topics")
def test_a_program_gets_the_same_as_json(extents) -> None:
    """JSON has one object for each check: its name, its state, what was found, and how to fix it if it is wrong."""
    checks = checks_by_name(extents, 0)
    assert list(checks) == ["settings", "brokers", "topics", "object store", "database", "model", "device"]
    assert all(result["state"] in OK and result["found"] for result in checks.values())
    assert all((result["advice"] is None) == (result["state"] == "ok") for result in checks.values())
    assert checks["topics"]["found"] == "12, 12 partitions"


@pytest.mark.usefixtures("environment")
def test_missing_topics_are_named_with_the_command_that_creates_them(extents) -> None:
    """Missing topics give a fault with the command that creates them, while the brokers are fine."""
    checks = checks_by_name(extents, 1)
    assert faults(checks) == ["topics"]
    assert checks["topics"]["found"].startswith("none of the 12 exists; the first is test-")
    assert "extents topics create" in checks["topics"]["advice"]


@pytest.mark.usefixtures("environment")
def test_one_missing_topic_and_wrong_partitions_are_named(extents, namespace) -> None:
    """Each topic that is missing or has wrong partitions is named, with what was found and what was expected."""
    specs = Topics(TopicSettings()).specs()
    changed = [TopicSpec(spec.name, 2 if spec.name.endswith("work.low") else spec.partitions, spec.config) for spec in specs]
    asyncio.run(ensure_topics([spec for spec in changed if not spec.name.endswith("dead-letter")], KafkaSettings()))
    checks = checks_by_name(extents, 1)
    assert faults(checks) == ["topics"]
    assert f"{namespace.topic_prefix}inference.work.low has 2 partitions, expected 1" in checks["topics"]["found"]
    assert f"{namespace.topic_prefix}inference.dead-letter is missing" in checks["topics"]["found"]


@pytest.mark.usefixtures("environment")
def test_a_topic_without_which_workers_work_is_a_warning(extents, namespace) -> None:
    """A missing topic that workers can do without is named, and the status is 0."""
    specs = Topics(TopicSettings()).specs()
    asyncio.run(ensure_topics([spec for spec in specs if spec.needed], KafkaSettings()))
    checks = checks_by_name(extents, 0)
    assert checks["topics"]["state"] == "warning"
    assert f"{namespace.topic_prefix}inference.workers is missing" in checks["topics"]["found"]


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize(
    ("variable", "value", "check", "says"),
    [
        ("WASABI_SECRET_KEY", "wrong", "object store", "WASABI_SECRET_KEY"),
        ("WASABI_ACCESS_KEY", "wrong", "object store", "WASABI_ACCESS_KEY"),
        ("WASABI_BUCKET", "captionacc-none", "object store", "bucket captionacc-none"),
        ("SUPABASE_SERVICE_ROLE_KEY", "eyJhbGciOiJIUzI1NiJ9.e30.wrong", "database", "check SUPABASE_SERVICE_ROLE_KEY"),
        ("SUPABASE_SCHEMA", "no_such_schema", "database", "check SUPABASE_SCHEMA"),
        ("SUPABASE_URL", "http://127.0.0.1:1", "database", "ConnectError"),
        ("EXTENTS_MODEL_VERSION", "mrn0fkfd", "model", f"there are: none, and the built-in {builtin_model_version()}"),
        ("KAFKA_REPLICATION_FACTOR", "3", "brokers", "1 running, but KAFKA_REPLICATION_FACTOR is 3"),
    ],
)
def test_a_wrong_setting_is_found_where_it_does_harm(
    extents, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, check: str, says: str
) -> None:
    """The check that needs a wrong setting fails, names it and says how to fix it; the status is 1."""
    monkeypatch.setenv(variable, value)
    checks = checks_by_name(extents, 1)
    assert check in faults(checks)
    assert says in checks[check]["found"]
    assert checks[check]["advice"]
    assert {"settings", "device"} <= {name for name, result in checks.items() if result["state"] in OK}


@pytest.mark.usefixtures("topics")
def test_missing_brokers_are_reported_once(extents, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no broker answers, the topics are not checked, rather than reported as missing."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    checks = checks_by_name(extents, 1)
    assert faults(checks) == ["brokers"]
    assert "brokers at 127.0.0.1:1" in checks["brokers"]["found"]
    assert checks["topics"] == {"check": "topics", "state": "skipped", "found": "not checked: no brokers", "advice": None}


@pytest.mark.usefixtures("topics")
def test_missing_settings_are_named_once(extents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing settings are all named in one check, and only the checks that need them are skipped."""
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "SUPABASE_URL"):
        monkeypatch.delenv(name)
    checks = checks_by_name(extents, 1)
    assert faults(checks) == ["settings"]
    assert checks["settings"]["found"] == "KAFKA_BOOTSTRAP_SERVERS is not set; SUPABASE_URL is not set"
    assert [name for name, result in checks.items() if result["state"] == "skipped"] == ["brokers", "topics", "database"]
    assert checks["brokers"]["found"] == "not checked: its settings are incomplete"
    assert checks["object store"]["state"] == "ok"


@pytest.mark.usefixtures("topics")
def test_a_device_that_is_not_there_is_a_fault(extents, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is set but not available is a fault: the doctor does not fall back to the CPU."""
    monkeypatch.setenv("EXTENTS_DEVICE", "cuda")
    monkeypatch.setattr("inference.engine.device.pick_device", lambda: "cpu")
    assert "EXTENTS_DEVICE is cuda" in checks_by_name(extents, 1)["device"]["found"]


@pytest.mark.usefixtures("topics")
def test_a_gpu_worker_needs_no_database(extents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the database's settings a GPU worker passes, while a coordinator and the whole service have a fault."""
    monkeypatch.delenv("SUPABASE_URL")
    monkeypatch.delenv("SUPABASE_SERVICE_ROLE_KEY")
    checks = checks_by_name(extents, 0, "--role", "gpu")
    assert list(checks) == ["settings", "brokers", "topics", "object store", "model", "device"]
    for role in (("--role", "coordinator"), ()):
        assert faults(checks_by_name(extents, 1, *role)) == ["settings"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Records all later calls to the object store, each with the permission that it needs and its key or prefix."""
    made: list[tuple[str, str]] = []

    def watch(method: str, right: str) -> None:
        original = getattr(ObjectStore, method)

        def watched(store: ObjectStore, key: str, *arguments: object, **options: object) -> object:
            made.append((right, key))
            return original(store, key, *arguments, **options)

        monkeypatch.setattr(ObjectStore, method, watched)

    for method, right in {"put": "PutObject", "get": "GetObject", "head": "GetObject", "delete": "DeleteObject"}.items():
        watch(method, f"s3:{right}")
    watch("list_keys", "s3:ListBucket")
    return made


def documented_rights(root: Path) -> dict[str, list[str]]:
    """Return the patterns of keys, or prefixes, of each permission in the policy of docs/deployment.md."""
    block = re.search(r"```json\n(.*?)```", (root / "docs" / "deployment.md").read_text(), re.DOTALL)
    assert block is not None
    rights: dict[str, list[str]] = {}
    for statement in json.loads(block[1])["Statement"]:
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        patterns = [resource.partition("BUCKET/")[2] for resource in resources if "/" in resource]
        patterns += statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix", [])
        for action in statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]:
            rights.setdefault(action, []).extend(patterns)
    return rights


@pytest.mark.usefixtures("topics")
def test_the_documented_rights_are_enough(extents, calls: list[tuple[str, str]]) -> None:
    """Every call to the store is within the policy of docs/deployment.md."""
    checks_by_name(extents, 0)
    rights = documented_rights(Path(__file__).parents[2])
    assert {"s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListBucket"} <= {right for right, _ in calls}
    assert [(right, key) for right, key in calls if not any(fnmatchcase(key, pattern) for pattern in rights[right])] == []


@pytest.mark.usefixtures("topics")
def test_a_gpu_worker_needs_no_right_to_write(extents, calls: list[tuple[str, str]]) -> None:
    """The checks for a GPU worker only list and read the store."""
    assert checks_by_name(extents, 0, "--role", "gpu")["object store"]["found"].endswith(": listed and read")
    assert {right for right, _ in calls} <= {"s3:GetObject", "s3:ListBucket"}


@pytest.mark.usefixtures("topics")
def test_a_key_that_may_not_delete_is_a_warning(extents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without permission to delete, the check warns and names the object that it leaves."""

    async def refuse(store: ObjectStore, key: str) -> None:
        raise ConfigurationError(f"s3://{store.bucket}/{key}: AccessDenied")

    monkeypatch.setattr(ObjectStore, "delete", refuse)
    check = checks_by_name(extents, 0)["object store"]
    assert check["state"] == "warning"
    assert "this check's object could not be deleted" in check["found"]
    assert "/videos/extents-check/" in check["found"]
