"""Answers of S3 that no server on loopback gives: Amazon's own refusals, in words that say what to do."""

from __future__ import annotations

import datetime
import email.utils
import re

import pytest
from ansible.module_utils.mendbook.errors import MendError, Nothing
from ansible.module_utils.mendbook.s3 import Patience
from ansible.module_utils.mendbook.s3_errors import explain, is_transient, shown
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, SSLError


def answer(status, code, message="made up", headers=None, **error):
    response = {
        "Error": {"Code": code, "Message": message, **error},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers or {}},
    }
    return ClientError(response, "GetObject")


def words(error, key="a.gz", tries=1):
    return explain(error, "read s3://b/a.gz", "s3:GetObject", "https://s3.example.com", "b", key, tries)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answer(403, "AccessDenied"), "The credentials need s3:GetObject here"),
        (answer(403, "403"), "The credentials need s3:GetObject here"),
        (answer(403, "AccountProblem"), "The credentials need s3:GetObject here"),
        (answer(403, "InvalidObjectState"), "aws s3api restore-object"),
        (answer(400, "ExpiredToken"), "temporary credentials have expired"),
        (answer(400, "InvalidToken"), "session token is not valid"),
        (answer(400, "KMS.DisabledException"), "KMS key that encrypts it is disabled"),
        (answer(400, "400"), "s3_sse_customer_key must hold it"),
        (answer(400, "InvalidRequest"), "s3_sse_customer_key must hold it"),
        (answer(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-1"}), "lives elsewhere: eu-west-1"),
        (answer(400, "AuthorizationHeaderMalformed", Region="eu-west-1"), "expects eu-west-1. Set s3_region"),
        (answer(412, "PreconditionFailed"), "it was replaced meanwhile"),
        (answer(416, "InvalidRange"), "become shorter"),
        (answer(501, "NotImplemented"), "does not know the request"),
        (answer(409, "Odd{}", "Odd {action} \x1b[31m"), r"S3 answered 409 Odd{}: Odd {action} \x1b[31m"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.response["Error"]["Code"],
)
def test_each_answer_says_what_to_do(error, expected):
    said = words(error)
    assert expected in said.msg
    assert said.msg.startswith("Cannot read s3://b/a.gz: ") and said.msg.endswith(".")
    assert said.msg.isprintable()


@pytest.mark.parametrize(("hours", "direction"), [(-3, "ahead of"), (3, "behind")])
def test_the_distance_of_the_clock_is_told_from_the_answers_date(hours, direction):
    server = (now() + datetime.timedelta(hours=hours)).replace(microsecond=0)
    error = answer(403, "RequestTimeTooSkewed", headers={"date": email.utils.format_datetime(server)})
    earliest, said, latest = now(), words(error).msg, now()
    (told,) = re.findall(rf"(\d+) seconds {direction} S3's", said)
    between = sorted(abs((moment - server).total_seconds()) for moment in (earliest, latest))
    assert between[0] - 0.5 <= int(told) <= between[1] + 0.5


def now():
    return datetime.datetime.now(datetime.UTC)


@pytest.mark.parametrize("headers", [{}, {"date": "nonsense"}])
def test_a_skewed_clock_without_a_date_is_still_explained(headers):
    said = words(answer(403, "RequestTimeTooSkewed", headers=headers)).msg
    assert "the clock of this machine is more than 15 minutes from S3's" in said


@pytest.mark.parametrize(("code", "key"), [("NoSuchKey", "a"), ("NoSuchVersion", "a"), ("404", "a"), ("404", None)])
def test_what_is_not_there_is_nothing(code, key):
    assert isinstance(words(answer(404, code), key), Nothing)


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (answer(500, "InternalError"), True),
        (answer(503, "SlowDown"), True),
        (answer(503, "503"), True),
        (answer(429, "TooManyRequests"), True),
        (answer(400, "RequestTimeout"), True),
        (answer(501, "NotImplemented"), False),
        (answer(400, "InvalidArgument"), False),
        (answer(403, "AccessDenied"), False),
        (answer(412, "PreconditionFailed"), False),
        (ConnectTimeoutError(endpoint_url="x"), True),
        (ConnectionResetError(), True),
        (SSLError(endpoint_url="x", error="bad certificate"), False),
        (PermissionError(), False),
    ],
    ids=str,
)
def test_only_what_may_pass_is_tried_again(error, transient):
    assert is_transient(error) is transient


def test_an_error_in_words_stays_as_it_is():
    error = MendError("said already")
    assert words(error) is error


def test_patience_backs_off_and_ends():
    pauses = []
    patience = Patience(seconds=30, sleep=pauses.append)
    with pytest.raises(ClientError):
        for _try in range(100):
            patience._since -= pauses[-1] if pauses else 0  # time passes while it sleeps
            patience.wait(answer(503, "SlowDown"))
    assert pauses[0] <= 0.1 and max(pauses) <= 8
    assert 15 < sum(pauses) <= 30
    assert patience.tries == len(pauses) + 1


def test_patience_with_nobody_there_is_short():
    patience = Patience(sleep=lambda seconds: None)
    with pytest.raises(EndpointConnectionError):
        for _try in range(100):
            patience.wait(EndpointConnectionError(endpoint_url="x"))
    assert patience.tries == 4


def test_patience_starts_anew_after_progress():
    patience = Patience(sleep=lambda seconds: None)
    for _try in range(3):
        patience.wait(EndpointConnectionError(endpoint_url="x"))
    patience.progressed()
    for _try in range(3):
        patience.wait(EndpointConnectionError(endpoint_url="x"))


def test_lasting_errors_are_never_tried_again():
    patience = Patience(sleep=lambda seconds: pytest.fail("waited"))
    with pytest.raises(ClientError):
        patience.wait(answer(403, "AccessDenied"))


def test_long_and_hostile_texts_are_shown_short_and_harmless():
    assert shown("a" * 300) == "a" * 200 + "..."
    assert shown("a\x1b[2J\n\u202e") == "a\\x1b[2J\\n\\u202e"
