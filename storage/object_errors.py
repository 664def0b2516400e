"""Maps the exceptions of botocore and aiohttp to our errors in one table."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from core.errors import ConfigurationError, ExistingObjectError, ExtentsError, MissingObjectError, PermanentError, TransientError

TABLE: Final[tuple[tuple[type[ExtentsError], tuple[type[Exception], ...]], ...]] = (
    # The network, or a server that could not respond now.
    (
        TransientError,
        (
            boto.HTTPClientError,
            boto.ConnectionError,
            boto.IncompleteReadError,
            boto.ChecksumError,
            boto.FlexibleChecksumError,
            boto.MetadataRetrievalError,
            boto.TokenRetrievalError,
            boto.CredentialRetrievalError,
            boto.CapacityNotAvailableError,
            boto.WaiterError,
            boto.EventStreamError,
            ResponseParserError,  # a response that is not XML, from a gateway in front of the store
            aiohttp.ClientError,
            TimeoutError,
            OSError,
        ),
    ),
    # A wrong setting in the environment or in the machine's AWS files.
    (
        ConfigurationError,
        (
            boto.NoCredentialsError,
            boto.PartialCredentialsError,
            boto.UnknownCredentialError,
            boto.NoAuthTokenError,
            boto.RefreshWithMFAUnsupportedError,
            boto.SSOError,
            boto.ProfileNotFound,
            boto.ConfigParseError,
            boto.ConfigNotFound,
            boto.InvalidConfigError,
            boto.InvalidIMDSEndpointError,
            boto.InvalidIMDSEndpointModeError,
            boto.UnknownRegionError,
            boto.InvalidRegionError,
            boto.ServiceNotInRegionError,
            boto.BaseEndpointResolverError,
            boto.EndpointProviderError,
            boto.InvalidEndpointConfigurationError,
            boto.InvalidEndpointDiscoveryConfigurationError,
            boto.InvalidDNSNameError,
            boto.InvalidHostLabelError,
            boto.InvalidS3AddressingStyleError,
            boto.InvalidS3UsEast1RegionalEndpointConfigError,
            boto.InvalidSTSRegionalEndpointsConfigError,
            boto.InvalidRetryConfigurationError,
            boto.InvalidRetryModeError,
            boto.InvalidProxiesConfigError,
            boto.InvalidDefaultsMode,
            boto.InvalidChecksumConfigError,
            boto.UnsupportedS3ConfigurationError,
            boto.UnsupportedS3AccesspointConfigurationError,
            boto.UnsupportedS3ControlConfigurationError,
            boto.UnsupportedSignatureVersionError,
            boto.UnknownSignatureVersionError,
        ),
    ),
    # A call that botocore rejects: a programming error, so retrying would not help.
    (
        PermanentError,
        (
            boto.ValidationError,
            boto.ParamValidationError,
            boto.MissingParametersError,
            boto.AliasConflictParameterError,
            boto.UnknownServiceStyle,
            boto.UnknownClientMethodError,
            boto.DataNotFoundError,
            boto.ApiVersionNotFoundError,
            boto.PaginationError,
            boto.OperationNotPageableError,
            boto.WaiterConfigError,
            boto.InvalidExpressionError,
            boto.UnseekableStreamError,
            boto.AwsChunkedWrapperError,
            boto.StubResponseError,
            boto.MD5UnavailableError,
            boto.MissingDependencyException,
            boto.UndefinedModelAttributeError,
            boto.UnsupportedServiceProtocolsError,
            boto.UnsupportedS3ArnError,
            boto.UnsupportedS3ControlArnError,
            boto.UnsupportedOutpostResourceError,
        ),
    ),
)
"""The first match wins. A server's response (``ClientError``) is judged below by its code and status."""

TIMEOUTS: Final = (TimeoutError, boto.ReadTimeoutError, boto.ConnectTimeoutError)

TRANSIENT_CODES: Final = frozenset(
    {
        "SlowDown",
        "RequestTimeout",
        "RequestTimeoutException",
        "Throttling",
        "InternalError",
        "OperationAborted",
        "ConditionalRequestConflict",  # another put of the same key is under way
        "BadDigest",
        "IncompleteBody",
    }
)
TRANSIENT_STATUSES: Final = frozenset({408, 425, 429})
MISSING_CODES: Final = frozenset({"NoSuchKey", "NotFound", "404"})

_SETTINGS: Final = {
    "NoSuchBucket": "WASABI_BUCKET",
    "InvalidAccessKeyId": "WASABI_ACCESS_KEY",
    "SignatureDoesNotMatch": "WASABI_SECRET_KEY",
    "AuthorizationHeaderMalformed": "WASABI_REGION",
    "PermanentRedirect": "WASABI_REGION or WASABI_ENDPOINT",
    "301": "WASABI_REGION or WASABI_ENDPOINT",  # the same for a HEAD, whose response has no code
    "IllegalLocationConstraintException": "WASABI_REGION or WASABI_ENDPOINT",
    "RequestTimeTooSkewed": "the clock of this machine",
    "AccessDenied": "the rights of WASABI_ACCESS_KEY on WASABI_BUCKET",
    "403": "WASABI_ACCESS_KEY, WASABI_SECRET_KEY and the key's rights on WASABI_BUCKET",  # the response to a HEAD has no code
}


@contextmanager
def mapped(subject: str) -> Iterator[None]:
    """Raise our error in place of a vendor's. Its message begins with ``subject``."""
    try:
        yield
    except ExtentsError:
        raise
    except boto.ClientError as error:
        raise _error_of_response(subject, error) from error
    except Exception as error:
        for error_class, vendor_classes in TABLE:
            if isinstance(error, vendor_classes):
                limit = "; WASABI_TIMEOUT_SECONDS is the limit" if isinstance(error, TIMEOUTS) else ""
                raise error_class(f"{subject}: {type(error).__name__}: {error}{limit}") from error
        if isinstance(error, boto.BotoCoreError):
            raise PermanentError(f"{subject}: {type(error).__name__}: {error}") from error
        raise


def _error_of_response(subject: str, error: boto.ClientError) -> ExtentsError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = f"{subject}: {error}"
    if status >= 500 or status in TRANSIENT_STATUSES or code in TRANSIENT_CODES or isinstance(error, boto.EventStreamError):
        return TransientError(text)
    if code in MISSING_CODES:
        return MissingObjectError(f"{subject} does not exist")
    if code == "PreconditionFailed":
        return ExistingObjectError(f"{subject} already exists")
    if code in _SETTINGS:
        return ConfigurationError(f"{text}; check {_SETTINGS[code]}")
    return PermanentError(text)
