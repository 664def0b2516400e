"""A denied object is distinguished from denied credentials."""

import pytest
from botocore.exceptions import ClientError

from core.errors import ConfigurationError, RefusedObjectError
from storage.objects import ObjectStore, ObjectStoreConfig


class Client:
    """An S3 client that denies one object, or everything."""

    def __init__(self, all_objects: bool) -> None:
        self.all_objects = all_objects

    def _refuse(self, operation: str, code: str = "AccessDenied") -> None:
        raise ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 403}}, operation)

    async def list_objects_v2(self, **_: object) -> dict[str, object]:
        if self.all_objects:
            self._refuse("ListObjectsV2")
        return {"Contents": []}

    async def get_object(self, **_: object) -> None:
        self._refuse("GetObject")

    async def head_object(self, **_: object) -> None:
        self._refuse("HeadObject", "403")


def store_of(client: Client) -> ObjectStore:
    config = ObjectStoreConfig(bucket="b", access_key="a", secret_key="s", region="r", endpoint_url=None, pool_size=1, timeout_seconds=1.0)
    store = ObjectStore(config)
    store._client = client
    return store


async def test_one_refused_object_is_its_own_fault():
    """If access to only one object is denied, the error is about that object, and the process can continue."""
    store = store_of(Client(all_objects=False))
    for call in (store.get("k", 10), store.head("k")):
        with pytest.raises(RefusedObjectError, match=r"s3://b/k: .*other objects of the bucket are served"):
            await call


async def test_a_refused_bucket_is_a_wrong_setting():
    """If everything is denied, the error names the setting to check."""
    store = store_of(Client(all_objects=True))
    for call in (store.get("k", 10), store.head("k")):
        with pytest.raises(ConfigurationError, match="WASABI_ACCESS_KEY"):
            await call


class Scoped(Client):
    """A client whose keys may list and read only below ``videos/``."""

    async def list_objects_v2(self, *, Prefix: str, **_: object) -> dict[str, object]:
        if not Prefix.startswith("videos/"):
            self._refuse("ListObjectsV2")
        return {"Contents": []}


async def test_rights_to_our_prefix_are_enough():
    """Keys that may not list the bucket's root are enough: a denied object is still that object's error."""
    config = ObjectStoreConfig(
        bucket="b",
        access_key="a",
        secret_key="s",
        region="r",
        endpoint_url=None,
        pool_size=1,
        timeout_seconds=1.0,
        probe_prefix="videos/",
    )
    store = ObjectStore(config)
    store._client = Scoped(False)
    with pytest.raises(RefusedObjectError):
        await store.get("videos/k", 10)
