"""Which dead letters are about a video or a tenant."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from streams.policy.stored_letters import StoredLetter, Subject

TENANT, VIDEO, OTHER, RUN = (UUID(f"{digit}1111111-1111-4111-8111-111111111111") for digit in "abcd")
BY_VIDEO = Subject(TENANT, VIDEO, runs=frozenset({RUN}))
BY_TENANT = Subject(TENANT, videos=frozenset({VIDEO}), runs=frozenset({RUN}))


def letter(value: bytes, key: bytes | None = None, **headers: bytes) -> StoredLetter:
    return StoredLetter("0/0", datetime(2026, 11, 28, tzinfo=UTC), key, value, headers)


def json(**fields: object) -> bytes:
    return ("{" + ", ".join(f'"{name}": "{value}"' for name, value in fields.items()) + "}").encode()


@pytest.mark.parametrize(
    "stored",
    [
        letter(json(tenant_id=TENANT, video_id=VIDEO)),
        letter(json(tenant_id=TENANT, video_id=str(VIDEO).upper())),
        letter(json(kind="span_failed", run_id=RUN)),
        letter(b"", key=f"{RUN}:3".encode()),
        letter(b"", run_id=str(RUN).encode()),
        letter(b"not JSON", key=str(VIDEO).encode()),
        letter(b"not JSON of " + str(VIDEO).encode()),
        letter(b"[" + json(video_id=VIDEO) + b"]"),
    ],
)
def test_a_record_of_the_video_is_recognised(stored: StoredLetter) -> None:
    """A video's letter is recognised by fields, key or run, or by its bytes if they cannot be decoded, and belongs to the tenant too."""
    assert BY_VIDEO.covers(stored)
    assert BY_TENANT.covers(stored)


def test_another_video_of_the_tenant_is_the_tenants_alone() -> None:
    """A record belongs to the tenant whether it can be decoded or not."""
    for stored in (letter(json(tenant_id=TENANT, video_id=OTHER)), letter(b"not JSON of " + str(TENANT).encode())):
        assert not BY_VIDEO.covers(stored)
        assert BY_TENANT.covers(stored)


def test_strangers_are_left_alone() -> None:
    """Records of other tenants, without ids, or with the video only in another field are not recognised."""
    for stored in (
        letter(json(tenant_id=OTHER, video_id=OTHER, run_id=uuid4()), key=str(OTHER).encode(), run_id=str(uuid4()).encode()),
        letter(b"", key=None),
        letter(b"\xff\xfe"),
        letter(json(tenant_id=OTHER, video_id=OTHER, event_id=f"copy of {VIDEO} of {TENANT}")),
    ):
        assert not BY_VIDEO.covers(stored)
        assert not BY_TENANT.covers(stored)
