"""The client library's errors in our words, without secrets: of an answer only its code and text are quoted."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import aiohttp
from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError
from fsspec.exceptions import FSTimeoutError

from headrace.engines.fsspec.remote import Changed
from headrace.errors import HeadraceError, RunFailed, SettingsError, Unauthorized, Unavailable

_KEYS = (
    *(botocore.NoCredentialsError, botocore.PartialCredentialsError, botocore.CredentialRetrievalError),
    *(botocore.ProfileNotFound, botocore.TokenRetrievalError, botocore.ConfigParseError, botocore.ConfigNotFound),
)
_SILENT = (FSTimeoutError, asyncio.TimeoutError, botocore.ConnectTimeoutError, botocore.ReadTimeoutError)
_REACH = "start the store, or correct AWS_ENDPOINT_URL; headrace doctor tries it"
_CODES = {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
_ELSEWHERE = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
_BUSY = {"RequestTimeout", "SlowDown", "Throttling", "RequestTimeTooSkewed"}


class Absent(Exception):
    """There is no such object, upload or bucket; only who asked knows which."""


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise the client library's errors as ours.

    Args:
        where: The store, for the messages.

    Raises:
        Absent: What was asked for is not there.
        Changed: The object is of another version than was asked for.
    """
    try:
        yield
    except botocore.ClientError as error:
        raise _answered(error, where) from error
    except _KEYS as error:
        raise Unauthorized(
            "the store takes credentials", where=where, why=_said(error),
            fix="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        ) from error  # fmt: skip
    except _SILENT as error:
        raise Unavailable("the store does not answer in time", where=where, fix=_REACH) from error
    except (botocore.HTTPClientError, botocore.ConnectionError, aiohttp.ClientError) as error:
        raise Unavailable("the store cannot be reached", where=where, why=type(error).__name__, fix=_REACH) from error
    except ResponseParserError as error:
        raise Unavailable("what answers is no S3 store", where=where, fix="correct AWS_ENDPOINT_URL") from error
    except (botocore.BotoCoreError, ValueError) as error:
        raise SettingsError("the store cannot be asked", where=where, why=_said(error), fix=_REACH) from error


def _answered(error: botocore.ClientError, where: str) -> Exception:
    answer = error.response
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = str(answer.get("Error", {}).get("Code", ""))
    why = f"{code}: {answer.get('Error', {}).get('Message', '')}"[:300]
    if code == "NoSuchBucket":
        return no_bucket(where)
    if status == HTTPStatus.PRECONDITION_FAILED:
        return Changed()
    if status == HTTPStatus.NOT_FOUND:
        return Absent()
    return _refused(status, code, where, why)


def _refused(status: int, code: str, where: str, why: str) -> HeadraceError:
    if code in _ELSEWHERE or status in {HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.TEMPORARY_REDIRECT}:
        return SettingsError("the bucket is in another region", where=where, why=why, fix="set AWS_REGION to its own")
    if code in _CODES or status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Unauthorized(
            "the store does not let us", where=where, why=why,
            fix="let these credentials list the bucket and get, put and delete its objects; check AWS_PROFILE and keys",
        )  # fmt: skip
    if code in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return Unavailable("the store cannot do it now", where=where, why=why, fix="try again in a while")
    return RunFailed("the store refused", where=where, why=why, fix="check AWS_ENDPOINT_URL: is it an S3 store?")


def no_bucket(where: str) -> SettingsError:
    """There is a server, and it has no such bucket."""
    fix = "make the bucket, or correct the setting store and AWS_ENDPOINT_URL"
    return SettingsError("there is no such bucket", where=where, fix=fix)


def _said(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
