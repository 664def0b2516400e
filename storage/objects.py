"""The object store: any S3 server, over one client with one pool of connections."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import aioboto3
from aiobotocore.config import AioConfig

from core.errors import ConfigurationError, CorruptInputError, RefusedObjectError, TransientError
from storage.object_errors import mapped

SLOWEST_UPLOAD_BYTES_PER_SECOND: Final = 100_000
"""A put may take so much longer than an answer; a slower one is given up."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store says of an object without sending it."""

    key: str
    size_bytes: int
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStoreConfig:
    """How to reach the store.

    Attributes:
        endpoint_url: an S3 server's address, spoken to path-style; None means Amazon's own.
        pool_size: connections held open at most; at least as many as fetches run at a time, or they queue for one.
        timeout_seconds: for connecting, and for each wait while reading.
    """

    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str
    endpoint_url: str | None
    pool_size: int
    timeout_seconds: float


class ObjectStore:
    """One bucket. An async context manager that belongs to one event loop; its calls may overlap.

    Nothing is tried again here: tries are counted in one place, the caller's, which knows how long it may wait. Every
    method raises TransientError for what may pass (5xx, SlowDown, timeouts, connections, a body cut short),
    ConfigurationError for what a setting must mend, and PermanentError for all else the server refuses.
    """

    def __init__(self, config: ObjectStoreConfig) -> None:
        self.bucket = config.bucket
        self._config = config
        self._stack = AsyncExitStack()
        self._client: Any = None  # aioboto3 builds its client class at run time and publishes no types

    async def __aenter__(self) -> Self:
        config = self._config
        client = aioboto3.Session().client(
            "s3",
            aws_access_key_id=config.access_key,
            aws_secret_access_key=config.secret_key,
            region_name=config.region,
            endpoint_url=config.endpoint_url,
            config=AioConfig(
                max_pool_connections=config.pool_size,
                connect_timeout=config.timeout_seconds,
                read_timeout=config.timeout_seconds,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path" if config.endpoint_url else "auto"},
                request_checksum_calculation="when_required",  # Wasabi refuses the checksums that boto3 would add
                response_checksum_validation="when_required",
            ),
        )
        with mapped(f"bucket {self.bucket}"):
            self._client = await self._stack.enter_async_context(client)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()
        self._client = None

    async def get(self, key: str, max_bytes: int) -> bytes:
        """Read a whole object.

        Raises:
            MissingObjectError: there is none under this key.
            CorruptInputError: it is larger than ``max_bytes``; nothing of it was read.
        """
        async with self._single_object(key):
            response = await self._client.get_object(Bucket=self.bucket, Key=key)
            async with response["Body"] as body:
                size = int(response["ContentLength"])
                if size > max_bytes:
                    raise CorruptInputError(f"{self._name(key)} has {size} bytes; expected at most {max_bytes}")
                data: bytes = await body.read()
        if len(data) != size:
            raise TransientError(f"{self._name(key)}: {len(data)} of {size} bytes arrived")
        return data

    async def head(self, key: str) -> ObjectInfo:
        """Look an object up.

        Raises:
            MissingObjectError: there is none under this key.
        """
        async with self._single_object(key):
            response = await self._client.head_object(Bucket=self.bucket, Key=key)
        return ObjectInfo(key, int(response["ContentLength"]), dict(response.get("Metadata", {})))

    async def put(self, key: str, data: bytes, metadata: Mapping[str, str] | None = None, *, replace: bool = True) -> None:
        """Write an object. It is there whole or not at all, also when this process is killed meanwhile or the call is cancelled.

        S3 promises that by itself. SeaweedFS 4.48 takes an upload whose sender has gone for an empty one, unless it can
        hold the bytes against their MD5.

        Args:
            replace: what lies there; otherwise one that is there already stays, where the store knows ``If-None-Match``.

        Raises:
            ExistingObjectError: there is one already, and it was not to be replaced.
        """
        # The client's own timeout begins when all is sent: a server that takes nothing would be waited for without end.
        limit_seconds = self._config.timeout_seconds + len(data) / SLOWEST_UPLOAD_BYTES_PER_SECOND
        with mapped(self._name(key)):
            async with asyncio.timeout(limit_seconds):
                condition = {} if replace else {"IfNoneMatch": "*"}
                await self._client.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=data,
                    ContentMD5=await asyncio.to_thread(_md5, data),
                    Metadata=dict(metadata or {}),
                    **condition,
                )

    async def list_keys(self, prefix: str) -> AsyncIterator[str]:
        """Every key that begins with ``prefix``, ascending, a page (1,000 keys) at a time."""
        token: dict[str, str] = {}
        while True:
            with mapped(self._name(f"{prefix}*")):
                page = await self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, **token)
            for entry in page.get("Contents", ()):
                yield entry["Key"]
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with mapped(self._name(key)):
            await self._client.delete_object(Bucket=self.bucket, Key=key)

    async def check(self) -> None:
        """Ask for the bucket itself: cheap, and wrong credentials or a missing bucket show.

        Raises:
            ConfigurationError: names the variable to mend.
        """
        with mapped(f"bucket {self.bucket}"):
            try:
                await self._client.head_bucket(Bucket=self.bucket)
            except self._client.exceptions.ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                    raise ConfigurationError(f"bucket {self.bucket} does not exist; create it or set WASABI_BUCKET") from error
                raise

    async def probe(self) -> None:
        """Read a byte of some object, whichever comes first: tells whether objects are served now, those of a record or any other."""
        with mapped(f"bucket {self.bucket}"):
            page = await self._client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)
            for entry in page.get("Contents", ()):
                response = await self._client.get_object(Bucket=self.bucket, Key=entry["Key"], Range="bytes=0-0")
                async with response["Body"] as body:
                    await body.read()

    @asynccontextmanager
    async def _single_object(self, key: str) -> AsyncIterator[None]:
        """Where others are served, a refusal is about this object, whoever may mend it, and not about the settings.

        Raises:
            RefusedObjectError: access to this object alone is refused.
        """
        try:
            with mapped(self._name(key)):
                yield
        except ConfigurationError as error:
            await self.probe()  # where everything is refused, so is this
            raise RefusedObjectError(f"{error}; other objects of the bucket are served") from error

    def _name(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"


def _md5(data: bytes) -> str:
    """As the header Content-MD5 has it (RFC 1864)."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
