# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The cache of answers on a gateway, as Varnish counts, or nginx."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from .host import Host, PartError
from .sample import Samples, sample

FOLDER = "var/cache/tfserving-cache"
_UNIT = "etc/systemd/system/tfserving-cache.service"
_NGINX = "etc/tfserving-cache/nginx.conf"
_SOCKET = "var/lib/haproxy/tfserving-cache/store.sock"
_ASK = b"GET /counters HTTP/1.0\r\nHost: check\r\n\r\n"
_ASKED_S = 2.0
_MOST_BYTES = 4096
_LINE = re.compile(r"(?m)^([a-z_]{1,30}) ([0-9]{1,15})$")

# By metric, the counters of varnishstat(1) that add up to it.
COUNTERS: Mapping[str, tuple[str, ...]] = {
    "cache_hits_total": ("MAIN.cache_hit",),
    "cache_misses_total": ("MAIN.cache_miss",),
    "cache_coalesced_total": ("MAIN.busy_sleep",),
    "cache_not_kept_total": ("MAIN.beresp_uncacheable",),
    "cache_evicted_total": ("MAIN.n_lru_nuked",),
    "cache_errors_total": ("MAIN.fetch_failed", "MAIN.backend_fail", "MAIN.sess_dropped", "SMA.Transient.c_fail"),
    "cache_answers": ("MAIN.n_object",),
    "cache_used_bytes": ("SMA.answers.g_bytes",),
    "cache_free_bytes": ("SMA.answers.g_space",),
}


# By metric, the counters of nginx's page (roles/gateway, answers.lua).
OF_NGINX: Mapping[str, str] = {
    "cache_hits_total": "hit",
    "cache_misses_total": "miss",
    "cache_coalesced_total": "coalesced",
    "cache_not_kept_total": "not_kept",
    "cache_passed_total": "bypass",
    "cache_spilled_total": "spilled",
    "cache_errors_total": "store_error",
    "cache_age_seconds_total": "age_seconds",
    "cache_store_up": "store_up",
}


def applies(host: Host) -> bool:
    """Return whether the host has a cache."""
    return host.tree.exists(_UNIT)


def read(host: Host) -> Samples:
    """Yield the samples; none while it does not run."""
    if host.tree.exists(_NGINX):
        yield from _of_nginx(str(host.tree.path(_SOCKET)))
        return
    status, text = host.run(["varnishstat", "-n", f"/{FOLDER}", "-t", "1", "-j", *_fields()])
    if status:
        raise PartError("the cache does not run")
    counters = _counters(text)
    for name, some in COUNTERS.items():
        found = [counters[each] for each in some if each in counters]
        if found:
            yield sample(name, sum(found))


def _of_nginx(path: str) -> Samples:
    """Yield what nginx counts on its own socket."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_ASKED_S)
            line.connect(path)
            line.sendall(_ASK)
            received = b""
            while len(received) < _MOST_BYTES:
                part = line.recv(_MOST_BYTES)
                if not part:
                    break
                received += part
    except OSError:
        raise PartError("the cache does not run") from None
    found = dict(_LINE.findall(received.decode("ascii", "replace").replace("\r", "")))
    for name, counter in OF_NGINX.items():
        if counter in found:
            yield sample(name, float(found[counter]))


def _fields() -> Iterable[str]:
    for some in COUNTERS.values():
        for each in some:
            yield from ("-f", each)


def _counters(text: str) -> dict[str, float]:
    """Return the counters of ``varnishstat -j``, which has another outer shape before Varnish 6.5."""
    try:
        found: Any = json.loads(text)
        found = found.get("counters", found)
        return {
            name: float(each["value"]) for name, each in found.items() if isinstance(each, dict) and "value" in each
        }
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise PartError("varnishstat prints something else than counters") from None
