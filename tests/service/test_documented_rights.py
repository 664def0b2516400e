"""The service works with keys that have only the permissions listed in docs/deployment.md."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio
from aiobotocore.session import get_session

from devstack.paths import CHECKOUT
from devstack.stack import OwnedStack
from storage.run_db_reader import MAX_RUN_DB_BYTES
from tests.service.installation import Installation
from tests.service.old_runs import insert_old_run
from tests.service.processes import Worker
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = 40


@dataclass(frozen=True, slots=True)
class Limited:
    """A user of the store. ``settings`` are its keys."""

    iam: Any
    name: str
    bucket: str
    settings: dict[str, str]

    async def may_what_is_documented(self) -> None:
        page = (CHECKOUT / "docs" / "deployment.md").read_text()
        policy, _ = json.JSONDecoder().raw_decode(page[page.index('{\n  "Version": "2012-10-17"') :].replace("BUCKET", self.bucket))
        await self.iam.put_user_policy(UserName=self.name, PolicyName="documented", PolicyDocument=json.dumps(policy))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def limited(stack: OwnedStack, service: Installation) -> AsyncIterator[Limited]:
    async with client_of(stack, "iam") as iam:
        name = f"limited-{uuid4()}"
        await iam.create_user(UserName=name)
        key = (await iam.create_access_key(UserName=name))["AccessKey"]
        settings = {"WASABI_ACCESS_KEY": key["AccessKeyId"], "WASABI_SECRET_KEY": key["SecretAccessKey"]}
        user = Limited(iam, name, service.store.bucket, settings)
        await user.may_what_is_documented()
        yield user


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workers(service: Installation, limited: Limited) -> list[Worker]:
    """Workers of both roles, with these keys."""
    started = [service.processes.command(role, **limited.settings) for role in ("coordinator", "gpu")]
    for worker in started:
        await worker.ready()
    return started


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def _alive_afterwards(service: Installation, workers: list[Worker]) -> AsyncIterator[None]:
    """After each test the same processes are ready, and a valid video completes."""
    yield
    assert (await service.run(video(FRAMES)))[1].name == "inference.completed"
    async with aiohttp.ClientSession() as http:
        assert [await worker.is_ready(http) for worker in workers] == [True, True], service.processes.tails()
    assert [worker.status for worker in workers] == [None, None]


async def test_the_rights_are_enough(service: Installation) -> None:
    """A run is computed, found and forced, and another fails at a broken chunk, which is named."""
    video_id = await service.add(video(514))
    first = await service.ledger.outcome(await service.submit(video_id, 514, event_id="first"))
    repeated = await service.ledger.outcome(await service.submit(video_id, 514, event_id="second"))
    assert [(each.name, each.body["deduplicated"]) for each in (first, repeated)] == [
        ("inference.completed", False),
        ("inference.completed", True),
    ]
    _, failed = await service.run(video(FRAMES).with_chunk("modulo_1/chunk_0000000001.webm", b"this is no film"))
    assert (failed.name, "modulo_1/chunk_0000000001.webm" in failed.body["reason"]) == ("inference.failed", True)
    _, rejected = await service.run(video(FRAMES).with_chunk("modulo_1/chunk_0000000001.webm", None))
    assert "modulo_1/chunk_0000000001.webm is missing" in rejected.body["message"]


async def test_the_doctor_finds_nothing_missing(service: Installation, limited: Limited) -> None:
    """The doctor needs no right that the service does not need."""
    checking = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "doctor"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**service.processes.environment, **limited.settings},
    )
    output, _ = await checking.communicate()
    assert checking.returncode == 0, output.decode()


async def test_an_object_outside_is_the_fault_of_its_request(service: Installation) -> None:
    """If the row of an old run names an object that these keys may not read, the request is rejected with its ids and the object's key."""
    _, outcome = await service.run(video(FRAMES))
    data = await service.store.get(outcome.body["storage_key"], MAX_RUN_DB_BYTES)
    video_id = await service.add(video(FRAMES))
    key = f"{service.tenant_id}/{video_id}/old.db"
    await service.store.put(key, data)
    await insert_old_run(service, video_id, key, FRAMES)
    published = await service.submit(video_id, FRAMES)
    rejected = await service.ledger.outcome(published)
    assert (rejected.name, rejected.body["rejection_type"]) == ("inference.rejected", "validation_failed")
    assert (rejected.body["request_id"], rejected.body["video_id"]) == (str(published.request_id), str(video_id))
    assert key in rejected.body["message"]
    assert await service.verifier.rejection(str(published.request_id)) is not None


@pytest.mark.parametrize("part", ["cropped_frames_v1", "layout.db"])
async def test_a_refused_object_of_a_video_is_the_fault_of_its_request(service: Installation, stack: OwnedStack, part: str) -> None:
    """If admission or a GPU worker is denied an object, the request is rejected or fails with the object's key in its message."""
    video_id = await service.add(video(FRAMES))
    async with refused(stack, service.store.bucket, f"videos/{service.tenant_id}/{video_id}/{part}*"):
        outcome = await service.ledger.outcome(await service.submit(video_id, FRAMES))
    assert outcome.name == ("inference.failed" if part == "cropped_frames_v1" else "inference.rejected")
    assert f"{video_id}/{part}" in outcome.body.get("reason", outcome.body.get("message"))


@asynccontextmanager
async def refused(stack: OwnedStack, bucket: str, keys: str) -> AsyncIterator[None]:
    """Nobody may read these objects of a bucket, whatever else is allowed."""
    resource = f"arn:aws:s3:::{bucket}/{keys}"
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": resource}
    async with client_of(stack, "s3") as s3:
        await s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        yield
        await s3.delete_bucket_policy(Bucket=bucket)


def client_of(stack: OwnedStack, service: str) -> AbstractAsyncContextManager[Any]:
    """Uses the keys of the stack itself."""
    config = stack.config
    return get_session().create_client(
        service,
        endpoint_url=config.s3_url,
        region_name=config.region,
        aws_access_key_id=config.admin_access_key,
        aws_secret_access_key=config.admin_secret_key,
    )
