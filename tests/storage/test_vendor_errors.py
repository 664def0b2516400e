"""Every exception of the vendors' libraries is mapped to one of ours."""

import inspect

import httpx
import pytest
from botocore import exceptions as boto
from postgrest import APIError

from core.errors import ConfigurationError, CorruptInputError, MissingObjectError, PermanentError, TransientError
from storage import object_errors, row_errors


def exceptions_of(module) -> list[type[Exception]]:
    return [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, Exception)]


def is_mapped(kind: type[Exception], table) -> bool:
    return any(issubclass(kind, theirs) for _, theirs in table)


BOTO_ROOTS = {boto.BotoCoreError, boto.ClientError}  # never raised themselves, and judged by code and status
BOTO_EXCEPTIONS = [
    kind for kind in exceptions_of(boto) if issubclass(kind, (boto.BotoCoreError, boto.ClientError)) and kind not in BOTO_ROOTS
]
HTTPX_ROOTS = {httpx.HTTPError, httpx.RequestError}


@pytest.mark.parametrize("kind", BOTO_EXCEPTIONS, ids=lambda kind: kind.__name__)
def test_every_exception_of_botocore_is_mapped(kind):
    """Every exception of botocore has an error of ours, including exceptions that a new release adds."""
    assert is_mapped(kind, object_errors.TABLE)


@pytest.mark.parametrize("kind", [k for k in exceptions_of(httpx) if k not in HTTPX_ROOTS], ids=lambda kind: kind.__name__)
def test_every_exception_of_httpx_is_mapped(kind):
    """Every exception of httpx has an error of ours, including exceptions that a new release adds."""
    assert is_mapped(kind, row_errors.TABLE)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("NoSuchKey", 404, MissingObjectError),
        ("404", 404, MissingObjectError),
        ("NoSuchBucket", 404, ConfigurationError),
        ("InvalidAccessKeyId", 403, ConfigurationError),
        ("SignatureDoesNotMatch", 403, ConfigurationError),
        ("AccessDenied", 403, ConfigurationError),
        ("301", 301, ConfigurationError),
        ("PermanentRedirect", 301, ConfigurationError),
        ("ConditionalRequestConflict", 409, TransientError),
        ("SlowDown", 503, TransientError),
        ("InternalError", 500, TransientError),
        ("RequestTimeout", 400, TransientError),
        ("TooManyRequests", 429, TransientError),
        ("", 502, TransientError),
        ("EntityTooLarge", 400, PermanentError),
    ],
)
def test_a_stores_answer_is_judged_by_its_code_and_status(code, status, expected):
    """A store's error code and status distinguish transient errors, wrong settings and permanent errors."""
    answer = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(expected, match=r"^the thing") as raised, object_errors.mapped("the thing"):
        raise boto.ClientError(answer, "GetObject")
    assert type(raised.value) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("42501", ConfigurationError),
        ("PGRST202", ConfigurationError),
        ("PGRST106", ConfigurationError),
        ("25006", TransientError),
        ("23514", PermanentError),
        ("22P02", PermanentError),
    ],
)
def test_the_databases_answer_is_judged_by_its_code(code, expected):
    """Missing rights and migrations are configuration errors, a refused value is permanent, and a read-only database is transient."""
    with pytest.raises(expected, match=r"^the thing") as raised, row_errors.mapped("the thing"):
        raise APIError({"message": "m", "code": code})
    assert type(raised.value) is expected


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 546])
async def test_a_transient_status_is_recognised_from_any_server(status):
    """A gateway's error page with a transient status is transient, as a response of the database itself would be."""
    response = httpx.Response(status, text="<html>upstream</html>", request=httpx.Request("GET", "http://x"))
    with pytest.raises(TransientError, match=str(status)):
        await row_errors.judge_status(response)


@pytest.mark.parametrize("table", [object_errors, row_errors])
def test_our_own_errors_pass_as_they_are(table):
    """Errors of ours pass unchanged."""
    with pytest.raises(CorruptInputError, match="as it is"), table.mapped("the thing"):
        raise CorruptInputError("as it is")


@pytest.mark.parametrize("table", [object_errors, row_errors])
def test_programming_errors_are_not_hidden(table):
    """A KeyError passes unchanged, because it is a bug and not a vendor's error."""
    with pytest.raises(KeyError), table.mapped("the thing"):
        raise KeyError("x")


@pytest.mark.parametrize(
    ("vendor", "error", "setting"),
    [
        (object_errors, boto.ReadTimeoutError(endpoint_url="http://s"), "WASABI_TIMEOUT_SECONDS"),
        (object_errors, TimeoutError(), "WASABI_TIMEOUT_SECONDS"),
        (row_errors, httpx.ReadTimeout("slow"), "SUPABASE_TIMEOUT_SECONDS"),
    ],
)
def test_a_limit_that_passed_names_its_setting(vendor, error, setting):
    """The error for a timeout names the setting of its limit."""
    with pytest.raises(TransientError, match=f"{setting} is the limit"), vendor.mapped("the thing"):
        raise error


def test_a_wrong_region_names_its_setting():
    """A wrong region names its setting, also for a HEAD request, which returns only a status."""
    answer = {"Error": {"Code": "301", "Message": "Moved Permanently"}, "ResponseMetadata": {"HTTPStatusCode": 301}}
    with pytest.raises(ConfigurationError, match="check WASABI_REGION"), object_errors.mapped("the thing"):
        raise boto.ClientError(answer, "HeadObject")
