# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The variables of the role gateway that the plan reads, with their defaults and checks."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described, kind
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals
from ansible_collections.tfserving.fleet.plugins.module_utils.scalars import boolean, decimal

from ..cache import stores
from ..wishes import checks
from ..wishes.settings import completed
from . import adopted
from .version import MODES

DEFAULTS: dict[str, Any] = {
    "gateway_address": "",
    "gateway_rest_port": 8080,
    "gateway_grpc_ports": {},
    "gateway_status_address": "127.0.0.1",
    "gateway_status_port": 8404,
    "gateway_source_address": "",
    "gateway_grpc_mode": "auto",
    "gateway_balance": "random(2)",
    "gateway_maxconn": {},
    "gateway_queue_share": 0.5,
    "gateway_margin_s": 5,
    "gateway_connect_timeout_ms": 1000,
    "gateway_idle_timeout_s": 300,
    "gateway_slowstart_s": 60,
    "gateway_retries": 2,
    "gateway_max_connections": 20000,
    "gateway_threads": 0,
    "gateway_server_ca": "",
    "gateway_server_certificate": "",
    "gateway_server_key": "",
    "gateway_tls_certificate": "",
    "gateway_tls_key": "",
    "gateway_tls_client_ca": "",
    "gateway_tls_client_names": [],
    "gateway_tokens": {},
    "gateway_jwt": {},
    "gateway_rate_limit": {},
    "gateway_body_limit_mb": 64,
    "gateway_sticky_header": "",
    "gateway_grpc_methods": [],
    "gateway_log": "/dev/log",
    "gateway_log_calls": True,
    "gateway_adopted": [],
    "gateway_adopted_share": 0,
    "gateway_cache_engine": "varnish",
    "gateway_cache_store": {},
    "gateway_cache_memory_mb": 256,
}

BALANCES = ("random(2)", "roundrobin", "leastconn")
ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
LONGEST = 128
MOST_NAMES = 10_000
DAY_S = 86_400

# No blank, quote, comma, backslash, '#' or '$': they mean something in HAProxy's files.
_PLAIN = re.compile(r"[A-Za-z0-9._:/@+=~*-]{1,128}")
_WORDS = re.compile(r"[A-Za-z0-9._:/@+=~*-]([A-Za-z0-9._:/@+=~* -]{0,126}[A-Za-z0-9._:/@+=~*-])?")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,512}")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_METHOD = re.compile(r"/[A-Za-z0-9._]{1,100}/[A-Za-z0-9_]{1,100}")
_LOG = re.compile(r"(/[A-Za-z0-9._/-]{1,100}|stdout|stderr|[A-Za-z0-9.-]{1,100}:[0-9]{1,5})?")


def complete(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings, checked, with the defaults where none is given, or raise WishError for all wrong ones."""
    return completed(given, ("gateway", "the gateway"), DEFAULTS, _CHECKS, _pairs)


def _pairs(settings: Mapping[str, Any], refusals: Refusals) -> None:
    """Refuse halves of what belongs together."""
    for certificate, key in (
        ("gateway_tls_certificate", "gateway_tls_key"),
        ("gateway_server_certificate", "gateway_server_key"),
    ):
        for one, other in ((certificate, key), (key, certificate)):
            if settings[one] and not settings[other]:
                refusals.add(WishError(other, f"is empty and {one} is set", "set both, or leave both out"))
    for name, needed in (
        ("gateway_tls_client_ca", "gateway_tls_certificate"),
        ("gateway_tls_client_names", "gateway_tls_client_ca"),
        ("gateway_server_certificate", "gateway_server_ca"),
    ):
        if settings[name] and not settings[needed]:
            refusals.add(WishError(name, f"is set and {needed} is not", "set both, or leave both out"))
    for name in ("gateway_tokens", "gateway_jwt"):
        if settings[name] and settings["gateway_grpc_mode"] == "tcp":
            problem = "is set, and with gateway_grpc_mode tcp nobody reads the tokens of gRPC calls"
            refusals.add(WishError(name, problem, "use gateway_tls_client_ca, or choose another mode"))
    known = settings["gateway_tokens"] or settings["gateway_jwt"] or settings["gateway_tls_client_ca"]
    if settings["gateway_rate_limit"].get("by") == "caller" and not known:
        raise WishError(
            "gateway_rate_limit.by",
            "is caller, and nothing tells callers apart",
            "set gateway_tokens, gateway_jwt or gateway_tls_client_ca, or limit by source",
        )


def _address(path: str, value: Any) -> str:
    try:
        return str(ipaddress.ip_address(value)) if value != "" else ""
    except ValueError:
        raise WishError(path, f"is {described(value)}", "give an IP address, or leave it empty") from None


def _ports(path: str, value: Any) -> dict[str, int]:
    found: dict[str, int] = _by_instance(checks.PORT_FIELDS["grpc"])(path, value)
    return found


def _by_instance(check: checks.Check) -> checks.Check:
    def checked(path: str, value: Any) -> dict[str, int]:
        return {
            checks.instance_name(path, name): check(f"{path}.{name}", entry)
            for name, entry in checks.mapping(path, value).items()
        }

    return checked


def _matching(pattern: re.Pattern[str], what: str) -> checks.Check:
    def check(path: str, value: Any) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return str(value)
        # What does not match may be a secret in the wrong place.
        raise WishError(path, f"is {kind(value)} that HAProxy cannot hold", f"give {what}")

    return check


_name = _matching(_PLAIN, f"up to {LONGEST} letters, digits and . _ : / @ + = ~ * -")


def _list(check: checks.Check) -> checks.Check:
    def checked(path: str, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise WishError(path, f"is {kind(value)}", "give a list")
        if len(value) > MOST_NAMES:
            raise WishError(path, f"holds {len(value)} entries", f"give at most {MOST_NAMES}")
        return [check(f"{path}[{place}]", each) for place, each in enumerate(value)]

    return checked


def _tokens(path: str, value: Any) -> dict[str, str]:
    token = _matching(_TOKEN, "a token of 16 to 512 letters, digits and . _ ~ + / = -")
    found = {_name(f"{path} (a name)", name): token(f"{path}.{name}", each) for name, each in _mapping(path, value)}
    if len(set(found.values())) < len(found):
        raise WishError(path, "gives two callers the same token", "give each its own")
    return found


def _mapping(path: str, value: Any) -> list[tuple[str, Any]]:
    return sorted(checks.mapping(path, value).items())


def _jwt(path: str, value: Any) -> dict[str, str]:
    known = {"algorithm": checks.one_of(*ALGORITHMS), "key": checks.pem, "issuer": _name, "audience": _name}
    found = checks.fields(path, value, "the tokens' issuer", known)
    for key in ("algorithm", "key") if found else ():
        if not found.get(key):
            raise WishError(f"{path}.{key}", "is missing", "set it, or leave out gateway_jwt")
    return found


def _rate(path: str, value: Any) -> dict[str, Any]:
    known = {
        "requests": checks.count("a number of calls"),
        "period_s": checks.whole(1, DAY_S, "seconds"),
        "by": checks.one_of("source", "caller"),
    }
    found = checks.fields(path, value, "the limit", known)
    if found and "requests" not in found:
        raise WishError(f"{path}.requests", "is missing", "say how many calls one caller may send in a period")
    return {"period_s": 10, "by": "source", **found} if found else {}


def _store_mb(path: str, value: Any) -> int:
    if decimal(value) == 0:
        raise WishError(path, "is 0, and a store without a limit takes all memory", "give 16 MB or more")
    found: int = checks.whole(16, 1_048_576, "MB")(path, value)
    return found


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "gateway_address": _address,
    "gateway_rest_port": checks.PORT_FIELDS["rest"],
    "gateway_grpc_ports": _ports,
    "gateway_status_address": _address,
    "gateway_status_port": checks.PORT_FIELDS["rest"],
    "gateway_source_address": _address,
    "gateway_grpc_mode": checks.one_of(*MODES),
    "gateway_balance": checks.one_of(*BALANCES),
    "gateway_maxconn": _by_instance(checks.count("a number of calls")),
    "gateway_queue_share": checks.within(0.001, 10, "a share of the objective"),
    "gateway_margin_s": checks.within(1, 3600, "seconds"),
    "gateway_connect_timeout_ms": checks.whole(1, 60_000, "milliseconds"),
    "gateway_idle_timeout_s": checks.whole(1, DAY_S, "seconds"),
    "gateway_slowstart_s": checks.whole(0, 3600, "seconds"),
    "gateway_retries": checks.whole(0, 5, "a number of retries"),
    "gateway_max_connections": checks.whole(10, 10_000_000, "a number of connections"),
    "gateway_threads": checks.whole(0, 64, "a number of threads"),
    "gateway_server_ca": checks.pem,
    "gateway_server_certificate": checks.pem,
    "gateway_server_key": checks.pem,
    "gateway_tls_certificate": checks.pem,
    "gateway_tls_key": checks.pem,
    "gateway_tls_client_ca": checks.pem,
    "gateway_tls_client_names": _list(_matching(_WORDS, "a common name of letters, digits and . _ : / @ + = ~ * -")),
    "gateway_tokens": _tokens,
    "gateway_jwt": _jwt,
    "gateway_rate_limit": _rate,
    "gateway_body_limit_mb": checks.whole(0, 2047, "MiB"),
    "gateway_sticky_header": lambda path, value: value and _matching(_HEADER, "the name of a header")(path, value),
    "gateway_grpc_methods": _list(_matching(_METHOD, "a path such as /package.Service/Method")),
    "gateway_log": _matching(_LOG, "a socket's path, HOST:PORT, stdout, stderr or nothing"),
    "gateway_log_calls": boolean,
    "gateway_adopted": adopted.checked,
    "gateway_adopted_share": checks.whole(0, adopted.WHOLE, "a percentage of the calls"),
    "gateway_cache_engine": checks.one_of(*stores.ENGINES),
    "gateway_cache_store": stores.store_wish,
    "gateway_cache_memory_mb": _store_mb,
}
