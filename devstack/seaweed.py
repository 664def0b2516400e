"""SeaweedFS: the object store, one process that speaks S3."""

import json
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from devstack.config import StackConfig
from devstack.part import Part
from devstack.paths import weed
from devstack.ports import HOST

NAME: Final = "s3"
_PROBE: Final = "stack-check"  # the object that the check writes, reads and deletes


def seaweed_part(config: StackConfig, folder: Path) -> Part:
    """Return the server. Its check creates the service's bucket, and puts, gets and deletes an object with the service's keys."""
    data = folder / NAME
    data.mkdir(parents=True, exist_ok=True)
    identities = folder / "etc" / "s3.json"
    identities.parent.mkdir(parents=True, exist_ok=True)
    identities.write_text(json.dumps(_identities(config)))

    async def check() -> None:
        await create_bucket(config, config.bucket)
        async with _client(config, config.access_key, config.secret_key) as s3:
            await s3.put_object(Bucket=config.bucket, Key=_PROBE, Body=b"ready")
            response = await s3.get_object(Bucket=config.bucket, Key=_PROBE)
            if await response["Body"].read() != b"ready":
                raise RuntimeError("the object read is not the one that was put")
            await s3.delete_object(Bucket=config.bucket, Key=_PROBE)

    command = [str(weed()), "-logtostderr", "server", *_options(config, data, identities)]
    environment = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}  # one volume per bucket instead of seven
    # A clean shutdown needlessly waits 15 s for its own streams: confirmed data has reached the kernel already.
    return Part(NAME, command, folder, check, environment, stop_seconds=1.0)


def remove_sockets(config: StackConfig) -> None:
    """Delete the sockets that a killed SeaweedFS leaves behind at fixed paths. Another user's sockets are kept."""
    for role in ("master", "volume", "filer", "s3"):
        with suppress(PermissionError):
            Path(f"/tmp/seaweedfs-{role}-grpc-{config.ports[f'{role}-grpc']}.sock").unlink(missing_ok=True)  # noqa: S108 - see above


async def create_bucket(config: StackConfig, bucket: str) -> None:
    """Create a bucket unless it exists. The service may use buckets whose names start with its own bucket's name."""
    async with _client(config, config.admin_access_key, config.admin_secret_key) as s3:
        try:
            await s3.create_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("BucketAlreadyExists", "BucketAlreadyOwnedByYou"):
                raise


def _client(config: StackConfig, access_key: str, secret_key: str) -> AbstractAsyncContextManager[Any]:
    client: AbstractAsyncContextManager[Any] = get_session().create_client(
        "s3",
        endpoint_url=config.s3_url,
        region_name=config.region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=AioConfig(connect_timeout=60, read_timeout=60, retries={"max_attempts": 1}),  # Part limits a check
    )
    return client


def _identities(config: StackConfig) -> dict[str, object]:
    def identity(name: str, access_key: str, secret_key: str, actions: list[str]) -> dict[str, object]:
        return {"name": name, "credentials": [{"accessKey": access_key, "secretKey": secret_key}], "actions": actions}

    service = [f"{action}:{config.bucket}*" for action in ("Read", "Write", "List", "Tagging")]
    return {
        "identities": [
            identity("stack", config.admin_access_key, config.admin_secret_key, ["Admin", "Read", "Write", "List", "Tagging"]),
            identity("service", config.access_key, config.secret_key, service),
        ]
    }


def _options(config: StackConfig, data: Path, identities: Path) -> list[str]:
    ports = config.ports
    return [
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-dir={data}",
        f"-master.port={ports['master']}",
        f"-master.port.grpc={ports['master-grpc']}",
        "-master.telemetry=false",
        "-master.resumeState=false",  # a single master has no peers, and its port may have changed
        "-master.volumeSizeLimitMB=1024",
        f"-volume.port={ports['volume']}",
        f"-volume.port.grpc={ports['volume-grpc']}",
        "-volume.max=1000",  # each bucket takes one or more; they are allocated when written
        "-volume.preStopSeconds=0",
        "-filer",
        f"-filer.port={ports['filer']}",
        f"-filer.port.grpc={ports['filer-grpc']}",
        "-filer.localSocket=filer.sock",
        "-s3",
        f"-s3.port={ports['s3']}",
        f"-s3.port.grpc={ports['s3-grpc']}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.localSocket=s3.sock",
        "-s3.autoCreateBucket=false",
        "-s3.iam.readOnly=false",  # the stack's own keys may add users, with policies as AWS has them
        f"-s3.config={identities}",
    ]
