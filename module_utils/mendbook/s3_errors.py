# SPDX-License-Identifier: MIT
"""What went wrong at S3, in words that say what to do next; never a secret, never raw text from the bucket."""

from __future__ import annotations

import datetime
import email.utils
import socket
import ssl

from ansible.module_utils.mendbook.errors import MendError, Nothing
from ansible.module_utils.mendbook.s3_options import shown_endpoint
from botocore import exceptions as boto
from urllib3 import exceptions as urllib3

# everything that a call through boto3 or a read of its body may raise for reasons outside this process
FAILURES = (boto.BotoCoreError, boto.ClientError, urllib3.HTTPError, OSError)

# S3 refuses a clock that is further away
_SMALLEST_SKEW_SECONDS = 15 * 60
_BUSY_CODES = ("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "TooManyRequestsException")
# what arrived is not what was sent
_DAMAGED_CODES = ("BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody")
_BROKEN_WIRE = (
    boto.ReadTimeoutError,
    boto.ConnectTimeoutError,
    boto.ConnectionClosedError,
    boto.EndpointConnectionError,
    boto.ResponseStreamingError,
    boto.IncompleteReadError,
    urllib3.TimeoutError,
    urllib3.ProtocolError,
    ConnectionError,
    TimeoutError,
)


def code_of(error):
    """Return the error code of S3's answer, or None when the error is no answer of S3."""
    return error.response.get("Error", {}).get("Code", "") if isinstance(error, boto.ClientError) else None


def status_of(error):
    """Return the HTTP status of S3's answer (0 when unknown), or None when the error is no answer of S3."""
    if not isinstance(error, boto.ClientError):
        return None
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def is_transient(error):
    """Whether the same request may succeed in a moment: S3 is busy or broken, or the wire was."""
    if isinstance(error, boto.ClientError):
        status = status_of(error)
        return status == 429 or (status >= 500 and status != 501) or code_of(error) in _BUSY_CODES + _DAMAGED_CODES
    return isinstance(error, _BROKEN_WIRE) and not isinstance(error, boto.SSLError)


def is_unreachable(error):
    """Whether no S3 came about at all: nobody listens, the name is unknown, or a web page answers."""
    return isinstance(error, boto.EndpointConnectionError) or _is_web_page(error)


def _is_web_page(error):
    """Whether the answer is a web page; that of a gateway (502 to 504) may be S3's in a moment."""
    if not isinstance(error, boto.ClientError) or status_of(error) in (502, 503, 504):
        return False
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers.get("content-type", "").lower().startswith("text/html")


def shown(text, limit=200):
    """Return text from the bucket fit for a message: control characters escaped, at most ``limit`` characters."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))
    return safe if len(safe) <= limit else safe[:limit] + "..."


def place(bucket, key=None, version_id=None):
    """Return s3://bucket/key for messages, with the version when one is meant."""
    where = "s3://{}/{}".format(shown(bucket), shown(key or "", 1100))
    return where + (f" (version {shown(version_id)})" if version_id else "")


def explain(error, doing, action, endpoint, bucket="", key=None, tries=1):
    """Return the MendError that says what ``error`` means while ``doing`` (such as "list s3://b/").

    ``action`` is the permission that the call needs (s3:GetObject), ``endpoint`` the URL that was asked and
    ``tries`` how often it was asked.
    """
    head = f"Cannot {doing}: "
    if isinstance(error, MendError):
        return error
    if _is_web_page(error):
        return MendError(
            f"{head}{shown_endpoint(endpoint)} answers like a web server, not like S3. {_CHECK}.", rule="s3"
        )
    if isinstance(error, boto.ClientError):
        return _answer(error, head, action, bucket, key, tries)
    return MendError(head + _no_answer(error, shown_endpoint(endpoint), bucket, tries), rule="s3")


def _answer(error, head, action, bucket, key, tries):
    code, status = code_of(error), status_of(error)
    if code == "NoSuchBucket" or (status == 404 and key is None):
        return Nothing(
            f"{head}there is no bucket {shown(bucket)} at this endpoint. "
            "Check bucket, s3_endpoint_url and the account of the credentials.",
            rule="bucket",
        )
    if code in ("NoSuchKey", "NoSuchVersion") or status == 404:
        return Nothing(head + "it is not there (any more).", rule="key")
    return MendError(f"{head}{_refusal(error, code, status, action, tries)}.", rule="s3", details={"code": code})


def _refusal(error, code, status, action, tries):
    if code not in _REFUSALS and is_transient(error):
        return (
            f"S3 answered {status} {shown(code)} to each of {tries} tries. It is overloaded or broken; "
            "look at the store, then run again"
        )
    if code not in _REFUSALS and status == 412:
        return "it was replaced meanwhile. Run again to use the new one"
    words = _REFUSALS.get("AccessDenied" if status == 403 and code not in _REFUSALS else code)
    if words is None:
        return f"S3 answered {status} {shown(code)}: {shown(error.response.get('Error', {}).get('Message', ''))}"
    return words.format(action=action, facts=_facts(error))


def _facts(error):
    """Return what the answer tells beside its code: the clock's distance, the right region."""
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if code_of(error) == "RequestTimeTooSkewed":
        try:
            server = email.utils.parsedate_to_datetime(headers["date"])
        except (KeyError, TypeError, ValueError):
            return "more than 15 minutes from S3's"
        ahead = (datetime.datetime.now(datetime.timezone.utc) - server).total_seconds()
        if abs(ahead) < _SMALLEST_SKEW_SECONDS:
            return "more than 15 minutes from S3's, or was when the request was made"
        return "{:.0f} seconds {} S3's".format(abs(ahead), "ahead of" if ahead > 0 else "behind")
    return shown(
        headers.get("x-amz-bucket-region") or error.response.get("Error", {}).get("Region") or "another region"
    )


_CHECK = "Check s3_endpoint_url"
_KEYS = "Check s3_access_key and s3_secret_key, the profile or the role"
_REFUSALS = {
    "AccessDenied": "no permission. The credentials need {action} here, and kms:Decrypt when a KMS key encrypts it. "
    "S3 says the same of a key that does not exist when s3:ListBucket is missing, and of a wrong SSE-C key",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key, or a proxy between here and S3 changes "
    "requests. " + _KEYS,
    "InvalidAccessKeyId": "S3 does not know the access key. " + _KEYS + ", and that s3_endpoint_url is the right store",
    "InvalidToken": "the session token is not valid. Get new temporary credentials",
    "InvalidClientTokenId": "STS does not know the access key. " + _KEYS,
    "ExpiredToken": "the temporary credentials have expired. Get new ones",
    "ExpiredTokenException": "the temporary credentials have expired. Get new ones",
    "RequestTimeTooSkewed": "the clock of this machine is {facts}. Set it (timedatectl, chronyc), then run again",
    "RequestExpired": "the clock of this machine is wrong. Set it (timedatectl, chronyc), then run again",
    "PermanentRedirect": "the bucket lives elsewhere: {facts}. Set s3_region (and s3_endpoint_url) to match",
    "AuthorizationHeaderMalformed": "the bucket expects {facts}. Set s3_region to match",
    "IllegalLocationConstraintException": "the bucket expects {facts}. Set s3_region to match",
    "InvalidObjectState": "it is archived (Glacier) and must be brought back first: aws s3api restore-object. "
    "Or choose another backup with key or at",
    "InvalidRange": "it has become shorter since it was listed. Run again to use the new one",
    "InvalidArgument": "S3 refuses the request. When the object is encrypted with a customer key (SSE-C), "
    "s3_sse_customer_key must hold it, and must be left out when it is not",
    "InvalidRequest": "S3 refuses the request. When the object is encrypted with a customer key (SSE-C), "
    "s3_sse_customer_key must hold it, and must be left out when it is not",
    # a HEAD has no body, so this is all that S3 says of a missing SSE-C key there
    "400": "S3 refuses the request. When the object is encrypted with a customer key (SSE-C), "
    "s3_sse_customer_key must hold it; the region and the clock of this machine are the other usual causes",
    "AllAccessDisabled": "all access to it is switched off at the store. Ask whoever owns the account",
    "KMS.DisabledException": "the KMS key that encrypts it is disabled. Enable the key",
    **dict.fromkeys(
        _DAMAGED_CODES,
        "what arrives at S3 is not what was sent, however often it is sent. Something on the way changes or cuts it: "
        "look at proxies and the network",
    ),
    "NotImplemented": "this store does not know the request, which needs {action}",
}


def _no_answer(error, endpoint, bucket, tries):
    causes = list(_causes(error))
    if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)):
        return "no usable credentials. Give s3_access_key and s3_secret_key, s3_profile, or s3_role_arn."
    if isinstance(error, boto.ProfileNotFound):
        return "s3_profile is not in the AWS configuration of the user who runs this (~/.aws/config)."
    if isinstance(error, (boto.ParamValidationError, boto.InvalidRegionError, boto.UnknownRegionError)):
        return "an option has a value that S3 does not allow: {}.".format(shown(error).rstrip("."))
    if any(isinstance(cause, (ssl.SSLError, boto.SSLError, urllib3.SSLError)) for cause in causes):
        return _tls(causes, endpoint)
    if any(isinstance(cause, (socket.gaierror, urllib3.NameResolutionError)) for cause in causes):
        hint = " With this store the bucket may have to stand in the path: s3_path_style: true." if bucket else ""
        return f"the name of {endpoint} cannot be resolved. Check s3_endpoint_url, s3_region and DNS.{hint}"
    if is_unreachable(error):
        return f"nobody listens at {endpoint}. Check s3_endpoint_url, the network and the store."
    if isinstance(error, (boto.ConnectTimeoutError, urllib3.ConnectTimeoutError)):
        return f"no connection to {endpoint} within 5 seconds, {tries} tries. Check firewalls and routes."
    if isinstance(error, (boto.ReadTimeoutError, urllib3.ReadTimeoutError)):
        return f"{endpoint} sent nothing for 20 seconds, {tries} tries. Look at the store and the network."
    if isinstance(error, boto.ProxyConnectionError):
        return "the proxy of this environment (https_proxy) cannot be reached. Fix or unset it."
    if is_transient(error):
        return f"{endpoint} broke the connection, {tries} tries. Look at the store and the network."
    if isinstance(error, boto.BotoCoreError) and "parse" in str(error).lower():
        return f"{endpoint} does not answer like S3. {_CHECK}."
    return f"{type(error).__name__}: {shown(error)}"


def _tls(causes, endpoint):
    text = " ".join(str(cause) for cause in causes)
    if "Hostname mismatch" in text or "IP address mismatch" in text or "doesn't match" in text:
        return f"the certificate of {endpoint} is for another name. Use the name in the certificate."
    if "NO_CERTIFICATE_OR_CRL_FOUND" in text or "no certificate or crl found" in text:
        return "s3_ca_file holds no certificate. Name a file in PEM format."
    if "has expired" in text:
        return f"the certificate of {endpoint} has expired. Renew it."
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            f"the certificate of {endpoint} is signed by nobody that this machine trusts. "
            "Name the authority's file with s3_ca_file."
        )
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text or "HTTP_REQUEST" in text:
        return f"{endpoint} does not speak TLS. Use http:// in s3_endpoint_url, or the port that speaks TLS."
    return f"TLS with {endpoint} failed: {shown(causes[-1])}."


def _causes(error):
    """Yield the error and everything below it, however botocore and urllib3 wrapped it."""
    seen = set()
    waiting = [error]
    while waiting:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None)]
        waiting += [cause.kwargs.get("error")] if isinstance(cause, boto.BotoCoreError) else []
