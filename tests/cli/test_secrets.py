"""A secret in a setting never leaves the process, whichever library's error quotes it."""

import asyncio
import json

import httpx
import pytest
from aiokafka.errors import KafkaError
from botocore.exceptions import ClientError
from postgrest import APIError

from core.errors import ExtentsError
from core.redaction import MASK
from core.settings import KafkaSettings, SupabaseSettings, WasabiSettings, read_section
from storage import object_errors, row_errors
from storage.database import RowsConfig
from storage.rows import Rows
from streams.policy.dead_letters import dead_letter_of
from streams.received import ReceivedRecord
from tests.core.test_settings import COMPLETE

PLANTED = "planted-s3cret/of+this=test"
SETTINGS = {"WASABI_SECRET_KEY": WasabiSettings, "SUPABASE_SERVICE_ROLE_KEY": SupabaseSettings, "KAFKA_SASL_PASSWORD": KafkaSettings}


@pytest.fixture(params=SETTINGS)
def planted(request, monkeypatch, tmp_path) -> str:
    """The variable that holds the secret, read as a process reads it."""
    monkeypatch.chdir(tmp_path)
    for name, value in {**COMPLETE, request.param: PLANTED}.items():
        monkeypatch.setenv(name, value)
    read_section(SETTINGS[request.param])
    return request.param


def raised_by_header() -> None:
    raise httpx.LocalProtocolError(f"Illegal header value {PLANTED.encode()!r}")


def raised_by_store() -> None:
    answer = {"Error": {"Code": "EntityTooLarge", "Message": f"key {PLANTED}"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    raise ClientError(answer, "GetObject")


def raised_by_database() -> None:
    raise APIError({"message": f"cannot verify {PLANTED}", "code": "PGRST301", "details": PLANTED})


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize(
    ("vendor", "fails"), [(row_errors, raised_by_header), (row_errors, raised_by_database), (object_errors, raised_by_store)]
)
def test_an_error_of_a_vendor_is_masked_in_message_and_dead_letter(vendor, fails) -> None:
    """A secret in a vendor's error is masked in our error and in the dead letter's header; the record's own bytes are kept."""
    with pytest.raises(ExtentsError) as raised, vendor.mapped("the thing"):
        fails()
    assert MASK in str(raised.value)
    assert "s3cret" not in str(raised.value)
    record = ReceivedRecord("t", 0, 0, 0, None, PLANTED.encode(), {})
    for error in (str(raised.value), repr(raised.value.__cause__)):
        letter = dead_letter_of(record, "refused", error)
        assert b"s3cret" not in letter.headers["error"]
        assert letter.value == PLANTED.encode()


@pytest.mark.usefixtures("planted")
async def test_a_key_that_no_header_can_carry_is_masked_by_the_database_client() -> None:
    """If a client's own error quotes the key, the key is masked, even if settings did not check it."""
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with Rows(RowsConfig(url=url, service_role_key=f"{PLANTED}\n", schema="s", timeout_seconds=1.0)) as rows:
            with pytest.raises(ExtentsError, match="Illegal header value") as raised:
                await rows.check()
    assert MASK in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("kind", [RuntimeError, KafkaError, ExtentsError, ModuleNotFoundError])
def test_the_command_prints_none(extents, monkeypatch, kind) -> None:
    """Errors of ours, library errors and tracebacks are printed with the secret masked, and the status is 1."""

    def broken(*_: object, **__: object) -> None:
        raise kind(f"could not log in with {PLANTED}")

    monkeypatch.setattr("cli.service.topics.Settings", broken)
    done = extents("topics", "check")
    assert done.status == 1
    assert "could not log in with " + MASK in done.err
    assert "s3cret" not in done.out + done.err
    assert ("Traceback" in done.err) == (kind is not ExtentsError)


def test_what_a_command_prints_as_a_result_is_masked_too(planted, extents, monkeypatch) -> None:
    """A secret that a setting quotes by mistake is masked in the doctor's output."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("SUPABASE_URL", f"http://127.0.0.1:1/{PLANTED}")
    monkeypatch.setenv("WASABI_ENDPOINT", f"http://127.0.0.1:1/{PLANTED}")
    done = extents("doctor", "--json")
    assert "s3cret" not in done.out + done.err
    assert len(json.loads(done.out)) == 7


def test_a_missing_part_names_what_brings_it(extents, monkeypatch) -> None:
    """Without a package, a command that needs it says how to install it."""

    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'safetensors'", name="safetensors")

    monkeypatch.setattr("cli.main.importlib.import_module", missing)
    done = extents("models", "list")
    assert done.status == 1
    assert done.err.startswith(
        "error: safetensors is not installed, and this needs it: run make setup in a checkout, or use the GPU worker's image"
    )
