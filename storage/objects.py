"""The object store: any S3 server, through one client with one connection pool."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from core.errors import ConfigurationError, CorruptInputError, MissingObjectError, RefusedObjectError, TransientError
from storage.memory_budget import MemoryBudget
from storage.object_errors import mapped

SLOWEST_UPLOAD_BYTES_PER_SECOND: Final = 100_000
"""The slowest upload that is allowed. The timeout of a put is extended by its size divided by this rate."""

MAX_HELD_BYTES: Final = 768 * 1024 * 1024
"""Limit for the layouts and run databases held at a time, including the values read from them: three times the largest layout."""

_PIECE_BYTES: Final = 1024 * 1024

_ABSENT: Final = "extents-check/absent"
"""A key below the probe's prefix at which no object is ever put."""

_NO_AWS_FILES: Final = {"profile": (None,) * 4, **{f"{kind}_file": (None, None, "/dev/null", None) for kind in ("config", "credentials")}}
"""Makes only our settings count: the machine's AWS profiles, and variables that name one, are ignored."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's metadata, without its content."""

    key: str
    size_bytes: int
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStoreConfig:
    """How to reach the store.

    Attributes:
        endpoint_url: address of an S3 server, used with path-style requests; None means Amazon S3.
        pool_size: maximum number of open connections; should cover the concurrent fetches, which otherwise queue.
        timeout_seconds: limit for connecting, and for each wait while reading.
        probe_prefix: prefix of the keys that probes list and read, so that they need no permissions on the rest of the bucket.
    """

    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str
    endpoint_url: str | None
    pool_size: int
    timeout_seconds: float
    probe_prefix: str = ""


class ObjectStore:
    """One bucket. An async context manager that belongs to one event loop; calls may overlap.

    It never retries: the caller does, because it knows how long it may wait. Every method raises TransientError
    for temporary errors (5xx, SlowDown, timeouts, connection errors, a truncated body), ConfigurationError for a wrong setting,
    and PermanentError for any other refusal by the server.
    """

    def __init__(self, config: ObjectStoreConfig) -> None:
        self.bucket = config.bucket
        self._config = config
        self._stack = AsyncExitStack()
        self._held = MemoryBudget(MAX_HELD_BYTES)
        self._client: Any = None  # aioboto3 builds its client class at run time and has no types

    async def __aenter__(self) -> Self:
        config = self._config
        session = aioboto3.Session(botocore_session=AioSession(session_vars=_NO_AWS_FILES))
        client = session.client(
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
                request_checksum_calculation="when_required",  # Wasabi refuses the checksums that boto3 adds by default
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
            MissingObjectError: no object has this key.
            CorruptInputError: the object is larger than ``max_bytes``; nothing was read.
        """
        async with self._opened(key, max_bytes) as (size, body):
            return await self._read(key, body, size, max_bytes)

    @asynccontextmanager
    async def hold(self, key: str, max_bytes: int, copies: int, *, most: int | None = None) -> AsyncIterator[bytes]:
        """Read a whole object that others have written, once there is enough memory for it and for the values made from it.

        ``MAX_HELD_BYTES`` limits all memory that is held this way. The share is released when the block ends.

        Args:
            copies: the memory that reading the object takes, in multiples of its size.
            most: the maximum memory that reading it takes, in bytes.

        Raises:
            As ``get``.
        """
        async with AsyncExitStack() as room:
            async with self._opened(key, max_bytes) as (size, body):
                needed = (max_bytes if size is None else size) * copies
                await room.enter_async_context(self._held.reserve(needed if most is None else min(needed, most)))
                data = await self._read(key, body, size, max_bytes)
            yield data

    @asynccontextmanager
    async def _opened(self, key: str, max_bytes: int) -> AsyncIterator[tuple[int | None, Any]]:
        """Open an object: its size, if the store gives it, and its body, which has not been read."""
        async with self._single_object(key):
            response = await self._client.get_object(Bucket=self.bucket, Key=key)
            async with response["Body"] as body:
                size = response.get("ContentLength")
                if size is not None and size > max_bytes:
                    raise CorruptInputError(f"{self._name(key)} has {size} bytes; expected at most {max_bytes}")
                yield size, body

    async def _read(self, key: str, body: Any, size: int | None, max_bytes: int) -> bytes:
        """Read a whole body. One of unknown size is read up to ``max_bytes``."""
        if size is not None:
            data: bytes = await body.read()
            if len(data) != size:
                raise TransientError(f"{self._name(key)}: {len(data)} of {size} bytes arrived")
            return data
        pieces, length = [], 0
        while piece := await body.content.read(_PIECE_BYTES):
            pieces.append(piece)
            length += len(piece)
            if length > max_bytes:
                raise CorruptInputError(f"{self._name(key)} has more than {max_bytes} bytes; expected at most {max_bytes}")
        return b"".join(pieces)

    async def head(self, key: str) -> ObjectInfo:
        """Read an object's metadata.

        Raises:
            MissingObjectError: no object has this key.
        """
        async with self._single_object(key):
            response = await self._client.head_object(Bucket=self.bucket, Key=key)
        if response.get("ContentLength") is None:
            raise TransientError(f"{self._name(key)}: the store did not return its size")
        return ObjectInfo(key, int(response["ContentLength"]), dict(response.get("Metadata", {})))

    async def put(
        self,
        key: str,
        data: bytes,
        metadata: Mapping[str, str] | None = None,
        *,
        content_type: str = "application/octet-stream",
        replace: bool = True,
    ) -> None:
        """Write an object atomically, even if this process is killed or the call is cancelled meanwhile.

        S3 guarantees that. SeaweedFS 4.48 stores an aborted upload as an empty object unless it can check the bytes against an MD5.

        Args:
            replace: whether to replace an existing object. If not, it is kept, provided that the store supports ``If-None-Match``.

        Raises:
            ExistingObjectError: the object exists and must not be replaced.
        """
        # The client's own timeout starts after everything is sent, so a server that accepts nothing would block forever.
        limit_seconds = self._config.timeout_seconds + len(data) / SLOWEST_UPLOAD_BYTES_PER_SECOND
        with mapped(self._name(key)):
            async with asyncio.timeout(limit_seconds):
                condition = {} if replace else {"IfNoneMatch": "*"}
                await self._client.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=data,
                    ContentType=content_type,
                    ContentMD5=await asyncio.to_thread(_md5, data),
                    Metadata=dict(metadata or {}),
                    **condition,
                )

    async def list_keys(self, prefix: str) -> AsyncIterator[str]:
        """List every key that begins with ``prefix``, ascending. Requests one page (1,000 keys) at a time.

        Raises:
            TransientError: the store says that there are more keys, but not where they begin.
        """
        token: dict[str, str] = {}
        while True:
            with mapped(self._name(f"{prefix}*")):
                page = await self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, **token)
            for entry in page.get("Contents", ()):
                yield entry["Key"]
            if not page.get("IsTruncated"):
                return
            following = page.get("NextContinuationToken")
            if not following or following == token.get("ContinuationToken"):
                fault = "without a continuation token" if not following else "with the same continuation token again"
                raise TransientError(f"{self._name(f'{prefix}*')}: an incomplete listing came {fault}")
            token = {"ContinuationToken": following}

    async def delete(self, key: str) -> None:
        """Delete an object. A missing object is not an error."""
        with mapped(self._name(key)):
            await self._client.delete_object(Bucket=self.bucket, Key=key)

    async def check(self) -> None:
        """Check the credentials and the bucket with one cheap request.

        Raises:
            ConfigurationError: names the setting to correct.
        """
        with mapped(f"bucket {self.bucket}"):
            try:
                await self._first_key()
            except self._client.exceptions.ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                    raise ConfigurationError(f"bucket {self.bucket} does not exist; create it or set WASABI_BUCKET") from error
                raise

    async def probe(self) -> None:
        """Read one byte of the first of our objects, which shows whether the store serves objects now.

        If access to that object is denied, an object that does not exist is read: the store reports it as missing only if our
        credentials may read below our prefix.
        """
        with mapped(f"bucket {self.bucket}"):
            key = await self._first_key()
        if key is None:
            return
        try:
            await self._read_byte(key)
        except ConfigurationError:
            with suppress(MissingObjectError):
                await self._read_byte(f"{self._config.probe_prefix}{_ABSENT}")

    async def _read_byte(self, key: str) -> None:
        with mapped(f"bucket {self.bucket}"):
            response = await self._client.get_object(Bucket=self.bucket, Key=key, Range="bytes=0-0")
            async with response["Body"] as body:
                await body.read()

    async def _first_key(self) -> str | None:
        page = await self._client.list_objects_v2(Bucket=self.bucket, Prefix=self._config.probe_prefix, MaxKeys=1)
        return next((entry["Key"] for entry in page.get("Contents", ())), None)

    @asynccontextmanager
    async def _single_object(self, key: str) -> AsyncIterator[None]:
        """Distinguish a denied object from wrong settings: if other objects are served, the denial concerns only this object.

        Raises:
            RefusedObjectError: access is denied to this object only.
        """
        try:
            with mapped(self._name(key)):
                yield
        except ConfigurationError as error:
            await self.probe()  # raises if every object is refused
            raise RefusedObjectError(f"{error}; other objects of the bucket are served") from error

    def _name(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"


def _md5(data: bytes) -> str:
    """The value of the Content-MD5 header (RFC 1864)."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
