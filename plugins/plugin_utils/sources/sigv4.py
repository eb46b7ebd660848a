# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Signatures of AWS, version 4, in the query of an address ("presigned"): who has the address may use it.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
# What S3 takes for the digest of a body that is not signed.
UNSIGNED = "UNSIGNED-PAYLOAD"
SERVICE = "s3"
# Enough to begin a transfer with a clock that is some minutes wrong. S3 looks at it when a transfer begins.
EXPIRES_S = 900


@dataclass(frozen=True)
class Keys:
    """An access key and its secret; a temporary one has a token."""

    access_key: str
    secret_key: str
    session_token: str = ""


def presigned(
    url: str, query: Mapping[str, str], keys: Keys, region: str, now: datetime.datetime, expires_s: int = EXPIRES_S
) -> str:
    """Return ``url`` (without a query, its path escaped as by ``escaped_path``) with a signed query, for a GET.

    ``now`` is in UTC.
    """
    parts = urlsplit(url)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    scope = f"{day}/{region}/{SERVICE}/aws4_request"
    token = {"X-Amz-Security-Token": keys.session_token} if keys.session_token else {}
    signed = {
        **query,
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{keys.access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(expires_s),
        **token,
        "X-Amz-SignedHeaders": "host",
    }
    canonical_query = encoded(signed)
    canonical = (
        f"GET\n{parts.path or '/'}\n{canonical_query}\nhost:{_host(parts.netloc, parts.scheme)}\n\nhost\n{UNSIGNED}"
    )
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(signing_key(keys.secret_key, day, region, SERVICE), text.encode(), hashlib.sha256).hexdigest()
    return f"{url}?{canonical_query}&X-Amz-Signature={signature}"


def signing_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    """Return the key that signs requests of one day (YYYYMMDD) in one region."""
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def encoded(query: Mapping[str, str]) -> str:
    """Return a query in canonical form: names and values escaped, sorted by escaped name."""
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def escaped_path(path: str) -> str:
    """Return a path as S3 signs it: escaped once, slashes kept."""
    return quote(path, safe="/-_.~")


def _host(netloc: str, scheme: str) -> str:
    # HTTP clients leave out the scheme's own port.
    default = {"http": ":80", "https": ":443"}[scheme]
    return netloc.lower().removesuffix(default)
