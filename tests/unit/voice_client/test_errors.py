from __future__ import annotations

import pytest

from voice_client.errors import AccessRefused, SessionRefused, session_refused

CHALLENGE = 'Bearer realm="voice", error="invalid_token", error_description="the access token has expired"'


@pytest.mark.parametrize(
    ("status", "challenge", "message"),
    [
        (401, CHALLENGE, "the server refused access: the access token has expired (HTTP status 401)"),
        (403, CHALLENGE, "the server refused access: the access token has expired (HTTP status 403)"),
        (401, "", "the server refused the access token (HTTP status 401)"),
        (401, 'Bearer error_description="\x1b[2J"', "the server refused the access token (HTTP status 401)"),
    ],
)
def test_why_access_was_refused(status, challenge, message):
    error = session_refused(status, "/v1/voice", {"www-authenticate": challenge})
    assert isinstance(error, AccessRefused)
    assert str(error) == message


def test_that_a_token_is_wanted():
    error = session_refused(401, "/v1/voice", {"www-authenticate": 'Bearer realm="voice"'}, has_token=False)
    assert str(error) == "the server wants an access token (HTTP status 401)"


@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"),
    [(429, "7", 7), (503, "5", 5), (503, "", None), (429, "Fri, 31 Dec 1999 23:59:59 GMT", None), (429, "-1", None)],
)
def test_when_to_try_again(status, retry_after, seconds):
    error = session_refused(status, "/v1/voice", {"retry-after": retry_after})
    assert isinstance(error, SessionRefused)
    assert (error.status, error.retry_after_s) == (status, seconds)
    assert ("try again in" in str(error)) == (seconds is not None)
