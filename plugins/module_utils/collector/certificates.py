# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""When the certificates of this host's servers, gateway and exporters expire.

openssl reads them, and only those that have changed: what the ssl module has for a file is private and brings the
libraries of TLS into each run, and a parser of our own would be one more that strangers' bytes reach. Of a file that
holds a key as well nothing but the blocks of certificates is handed on.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from datetime import datetime, timezone

from .files import by_content
from .host import Host
from .sample import Samples, sample

# The servers' files, those of the gateway's HAProxy, and those of the exporters and of Prometheus.
PLACES = (
    "etc/tfserving/*/ssl.config",
    "etc/haproxy/tfserving/*.pem",
    "etc/prometheus/*/*.crt",
    "etc/prometheus/*/*.pem",
)
# A chain has two or three, a bundle of authorities some more.
MOST = 20
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]{1,20000}?-----END CERTIFICATE-----")
_END = re.compile(r"notAfter=([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([0-9]{4}) GMT\n?")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def paths(host: Host) -> list[str]:
    """Return the files of this host that may hold certificates."""
    return sorted(path for place in PLACES for path in glob.glob(host.tree.path(place)))


def applies(host: Host) -> bool:
    """Return whether the host has any."""
    return bool(paths(host))


def read(host: Host) -> Samples:
    """Yield the samples: of a file with several certificates the first end."""
    answers = by_content(host, "certificates", paths(host), lambda content: min(ends(host, content), default=0), int)
    for path, end in answers.of.items():
        if end:
            yield sample("certificate_expiry_timestamp_seconds", end, path=f"/{path[len(host.tree.path('')) :]}")
    answers.insist()


def ends(host: Host, content: bytes) -> Iterator[int]:
    """Yield the end of each certificate. Raises ValueError with the end of a sentence about the file."""
    # A text of SSLConfig has its line breaks escaped.
    text = content.replace(b"\\n", b"\n").replace(b"\\r", b"")
    for block in _BLOCK.findall(text)[:MOST]:
        status, out = host.run(["openssl", "x509", "-noout", "-enddate"], block)
        found = _END.fullmatch(out)
        if status != 0 or not found or found[1] not in _MONTHS:
            raise ValueError("it holds a certificate that openssl cannot read")
        day, hour, minute, second, year = map(int, found.groups()[1:])
        moment = datetime(year, _MONTHS.index(found[1]) + 1, day, hour, minute, second, tzinfo=timezone.utc)
        yield int(moment.timestamp())
