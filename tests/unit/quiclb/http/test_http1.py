"""Requests of untrusted peers, read by the rules of RFC 9112, and the hosts a server may be asked for."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiclb.http.http1 import (
    BadRequest,
    HostRule,
    RequestHead,
    body_length,
    encode_response,
    host_name,
    parse_head,
    split_target,
)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/v1/voice?token=a?b", "/v1/voice", "token=a?b"),
        ("/v1/voice", "/v1/voice", ""),
        ("//[", "//[", ""),
        ("//host/v1/voice", "//host/v1/voice", ""),
        ("/x#y", "/x#y", ""),
        ("", "", ""),
    ],
)
def test_a_target_is_split_at_its_first_question_mark(target: str, path: str, query: str) -> None:
    """RFC 3986 section 3.3: a path ends at the first question mark."""
    assert split_target(target) == (path, query)


@given(st.text())
def test_every_target_is_split(target: str) -> None:
    path, query = split_target(target)
    assert target in (path, f"{path}?{query}")


@given(st.binary(max_size=300))
def test_every_head_is_read_or_refused(head: bytes) -> None:
    assert isinstance(parse_head(head), RequestHead | BadRequest)


def test_names_are_lower_case_and_repeated_fields_are_joined() -> None:
    """RFC 9110 section 5.3."""
    head = parse_head(b"GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1 \r\nx-a:\t2\r\n\r\n")
    assert head == RequestHead("GET", "/a", {"host": "h", "x-a": "1, 2"})


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Host: [",
        b"Host: [::::]",
        b"Host: a b",
        b"Host: a/b",
        b"Host: h\r\nHost: h",
        b"Host: h\r\nX : 1",
        b"Host: h\r\n folded",
        b"Host: h\r\nno colon",
        b"Host: h\r\nX: a\0b",
        b"Host: h\r\nX: a\rb",
    ],
)
def test_fields_that_rfc_9112_forbids_are_400(fields: bytes) -> None:
    """RFC 9112 sections 3.2 (one valid Host), 5.1 (no space before the colon) and 5.2 (no folding)."""
    refused = parse_head(b"GET / HTTP/1.1\r\n" + fields + b"\r\n\r\n")
    assert isinstance(refused, BadRequest)
    assert refused.status is HTTPStatus.BAD_REQUEST


def test_http_1_0_needs_no_host() -> None:
    assert isinstance(parse_head(b"GET / HTTP/1.0\r\n\r\n"), RequestHead)


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ({}, 0),
        ({"content-length": "0010"}, 10),
        ({"content-length": "64"}, 64),
        ({"content-length": "65"}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        ({"content-length": "1" * 5_000}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        ({"content-length": "-1"}, HTTPStatus.LENGTH_REQUIRED),
        ({"content-length": "²"}, HTTPStatus.LENGTH_REQUIRED),
        ({"content-length": "5, 5"}, HTTPStatus.LENGTH_REQUIRED),
        ({"transfer-encoding": "chunked"}, HTTPStatus.LENGTH_REQUIRED),
    ],
)
def test_a_body_has_a_length_within_the_limit(fields: dict[str, str], length: int | HTTPStatus) -> None:
    found = body_length(fields, 64)
    assert (found.status if isinstance(found, BadRequest) else found) == length


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        ("Example.COM:443", "example.com"),
        ("h", "h"),
        ("[2001:DB8::1]:443", "2001:db8::1"),
        ("[::1", None),
        ("[", None),
        ("a:b", None),
        ("a@b", None),
        ("", ""),
    ],
)
def test_a_host_is_a_name_or_an_address(authority: str, name: str | None) -> None:
    assert host_name(authority) == name


RULE = HostRule.of(["lb.example.com", "*.pool.example"], "forwarder.metrics_hosts")
LOOPBACK = HostRule(loopback_only=True)


@pytest.mark.parametrize(
    ("rule", "host", "is_allowed"),
    [
        (RULE, "192.0.2.7:9100", True),
        (RULE, "[2001:db8::1]:9100", True),
        (RULE, "localhost", True),
        (RULE, "LB.example.com.", True),
        (RULE, "a.b.pool.example", True),
        (RULE, "pool.example", False),
        (RULE, "attacker.example", False),
        (RULE, "lb.example.com.attacker.example", False),
        (RULE, "192.0.2.7.attacker.example", False),
        (RULE, "", False),
        (LOOPBACK, "127.0.0.1:8443", True),
        (LOOPBACK, "[::1]", True),
        (LOOPBACK, "page.localhost", True),
        (LOOPBACK, "192.0.2.7", False),
        (LOOPBACK, "attacker.example", False),
        (LOOPBACK, "localhost.attacker.example", False),
    ],
)
def test_only_names_that_no_attacker_can_rebind_are_allowed(rule: HostRule, host: str, is_allowed: bool) -> None:
    refusal = rule.refusal({"host": host})
    assert (refusal is None) == is_allowed
    assert refusal is None or refusal.status is HTTPStatus.MISDIRECTED_REQUEST


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("http://localhost:5173", True),
        ("https://127.0.0.1", True),
        ("https://attacker.example", False),
        ("null", False),
    ],
)
def test_an_origin_is_of_an_allowed_host(origin: str, is_allowed: bool) -> None:
    refusal = LOOPBACK.refusal({"host": "localhost", "origin": origin})
    assert (refusal is None) == is_allowed


def test_not_modified_has_no_length() -> None:
    """RFC 9110 section 8.6."""
    assert b"Content-Length" not in encode_response(HTTPStatus.NOT_MODIFIED, {})
