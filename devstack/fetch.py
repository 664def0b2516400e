"""Fetches Kafka's jars into the checkout and verifies them against the lock file: ``python -m devstack.fetch``.

``--relock`` resolves them again and rewrites the lock file.
"""

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import file_digest
from pathlib import Path
from typing import Final

from jgo.env import LockedDependency, LockFile
from jgo.maven import Dependency, MavenContext

from core.errors import ConfigurationError
from devstack.paths import CHECKOUT, KAFKA_JARS

KAFKA: Final = ("org.apache.kafka", "kafka_2.13", "4.1.2")
LOGGING: Final = ("org.slf4j", "slf4j-simple", "1.7.36")  # Kafka's packages leave the choice of a logger to the user
LOCK: Final = CHECKOUT / "requirements" / "kafka.lock.toml"

_TIMEOUT_SECONDS: Final = 60


def fetch_jars(target: Path = KAFKA_JARS) -> int:
    """Put exactly the jars of the lock file into ``target``. Returns their number.

    Raises:
        ConfigurationError: a jar's hash differs from the lock file's.
    """
    context = MavenContext(timeout=_TIMEOUT_SECONDS)
    locked = LockFile.load(LOCK).dependencies
    fresh = target.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    with ThreadPoolExecutor(8) as pool:
        for copied in pool.map(lambda jar: _fetch(context, jar, fresh), locked):
            assert copied.exists()
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return len(locked)


def _fetch(context: MavenContext, jar: LockedDependency, target: Path) -> Path:
    component = context.project(jar.groupId, jar.artifactId).at_version(jar.version)
    cached = component.artifact(jar.classifier or "", jar.packaging).resolve()
    copy = Path(shutil.copy(cached, target))
    with copy.open("rb") as file:
        actual = file_digest(file, "sha256").hexdigest()
    if actual != jar.sha256:
        raise ConfigurationError(f"{cached} has SHA-256 {actual}, expected {jar.sha256}; delete it and run `make setup` again")
    return copy


def relock() -> int:
    """Resolve ``KAFKA``, ``LOGGING`` and their run-time dependencies, and write their versions and hashes. Returns their number."""
    context = MavenContext(timeout=_TIMEOUT_SECONDS)
    wanted = [Dependency(context.project(group, name).at_version(version).artifact()) for group, name, version in (KAFKA, LOGGING)]
    direct, transitive = context.resolver.resolve(wanted)
    jars = [jar for jar in (*direct, *transitive) if jar.scope in ("compile", "runtime", None) and not jar.optional]
    LockFile.from_resolved_dependencies(jars).save(LOCK)
    return len(jars)


def main() -> None:
    if "--relock" in sys.argv[1:]:
        print(f"{relock()} jars locked in {LOCK.relative_to(CHECKOUT)}")
    else:
        print(f"{fetch_jars()} jars of Kafka {KAFKA[2]}, verified")


if __name__ == "__main__":
    main()
