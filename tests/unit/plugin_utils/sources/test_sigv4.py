# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Signatures, held to the examples that AWS has published; lab/sources/ holds them to botocore's as well."""

from __future__ import annotations

import datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.sources import sigv4

NOW = datetime.datetime(2013, 5, 24)


def test_the_published_example_of_a_presigned_address():
    # https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    keys = sigv4.Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    url = "https://examplebucket.s3.amazonaws.com/test.txt"
    assert sigv4.presigned(url, {}, keys, "us-east-1", NOW, expires_s=86400) == (
        f"{url}?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_the_published_example_of_a_signing_key():
    # https://docs.aws.amazon.com/general/latest/gr/signature-v4-examples.html
    key = sigv4.signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20120215", "us-east-1", "iam")
    assert key.hex() == "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"


def signature(url="https://h/b/k", query=None, region="r", **keys):
    signed = sigv4.presigned(
        url, query or {}, sigv4.Keys(**{"access_key": "a", "secret_key": "s", **keys}), region, NOW
    )
    return parse_qs(urlsplit(signed).query)["X-Amz-Signature"]


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "https://h/b/other"},
        {"url": "https://other/b/k"},
        {"url": "https://h:9000/b/k"},
        {"query": {"prefix": "x"}},
        {"region": "other"},
        {"secret_key": "other"},
        {"session_token": "t"},
    ],
    ids=str,
)
def test_everything_that_is_asked_for_is_signed(changes):
    assert signature(**changes) != signature()


def test_the_schemes_own_port_is_signed_as_clients_send_it():
    assert signature("https://h:443/b/k") == signature("https://h/b/k")
    assert signature("http://h:80/b/k") == signature("http://h/b/k")


def test_names_are_escaped_once_and_slashes_kept():
    assert sigv4.escaped_path("a b/é+~.txt") == "a%20b/%C3%A9%2B~.txt"
    assert sigv4.encoded({"b": "x/y z", "a": "+"}) == "a=%2B&b=x%2Fy%20z"


def test_a_temporary_key_brings_its_token():
    url = sigv4.presigned("https://h/b/k", {}, sigv4.Keys("a", "s", "t/1"), "r", NOW)
    assert "X-Amz-Security-Token=t%2F1&X-Amz-SignedHeaders=host" in url
