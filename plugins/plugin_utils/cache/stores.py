# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where answers are kept: in Varnish itself, or in a Redis that gateways may share, behind nginx."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, kind

from ..wishes import checks
from .schema import CachePlan, Store

ENGINES = ("varnish", "nginx")
LOCAL = "unix:/run/tfserving-store/redis.sock"
# Two fleets with one Redis need different ones, as both have a version 7 of something.
PREFIX = "tfserving"
FOLDER = "etc/tfserving-cache"
BOTH = ("etc/tmpfiles.d/tfserving-cache.conf", "etc/systemd/system/tfserving-cache.service")
VARNISH = (f"{FOLDER}/answers.vcl",)
NGINX = (f"{FOLDER}/nginx.conf", f"{FOLDER}/answers.lua")
REDIS = (f"{FOLDER}/redis.conf", "etc/systemd/system/tfserving-store.service")
SECRET, CERTIFICATES = f"{FOLDER}/store.secret", f"{FOLDER}/store-ca.pem"

_PATH = re.compile(r"unix:/[A-Za-z0-9._/-]{1,100}")
_PORT = re.compile(r"(\[?)([0-9A-Fa-f.:]+)(\]?):([0-9]{1,5})")
_ADDRESS = "give unix:/PATH, or IP:PORT, since names are not looked up for each call"
# Neither quotes nor backslashes, which mean something in nginx's files, nor the end of a line.
_NAME = re.compile(r"[A-Za-z0-9.-]{1,253}")
_WORD = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_PASSWORD = re.compile(r"[!-~]{1,512}")


def store_wish(path: str, value: Any) -> dict[str, Any]:
    """Check where nginx finds its Redis; an empty mapping is one of the gateway's own."""
    found = checks.fields(path, value, "the store", _FIELDS)
    if not found:
        return {}
    if not found.get("address"):
        raise WishError(f"{path}.address", "is missing", f"{_ADDRESS}; for a Redis on each gateway leave {path} out")
    for key, needed in (("user", "password"), ("ca", "tls_name")):
        if found.get(key) and not found.get(needed):
            raise WishError(f"{path}.{needed}", f"is missing, and {key} is set", "set both, or leave both out")
    if _crosses_network(found["address"]):
        for key, danger in (("tls_name", "read on the way"), ("password", "written by anybody")):
            if not found.get(key):
                problem = f"is missing, and answers in {found['address']} could be {danger}"
                raise WishError(f"{path}.{key}", problem, "set it, or use a UNIX socket")
    return found


def check_engine(engine: str, wish: Mapping[str, Any]) -> None:
    """Refuse a store for an engine that has its own."""
    if wish and engine != "nginx":
        problem = f"is set, and {engine} keeps answers in its own memory"
        raise WishError("gateway_cache_store", problem, "set gateway_cache_engine to nginx, or leave it out")


def store(wish: Mapping[str, Any]) -> Store:
    """Return what the files need to know of a store, without its secrets."""
    address = wish.get("address", LOCAL)
    host, _, port = ("", "", "0") if _is_path(address) else address.rpartition(":")
    return {
        "address": host or address,
        "port": int(port),
        "name": wish.get("tls_name", ""),
        "user": wish.get("user", ""),
        "prefix": wish.get("prefix", PREFIX),
        "own_ca": bool(wish.get("ca")),
        "has_password": bool(wish.get("password")),
        "is_local": not wish,
    }


def unneeded(cache: CachePlan) -> list[str]:
    """Return the files that this cache does without."""
    some = {
        **dict.fromkeys(BOTH, True),
        **dict.fromkeys(VARNISH, cache["engine"] == "varnish"),
        **dict.fromkeys(NGINX, cache["engine"] == "nginx"),
        **dict.fromkeys(REDIS, cache["engine"] == "nginx" and cache["store"]["is_local"]),
        SECRET: cache["store"]["has_password"],
        CERTIFICATES: cache["store"]["own_ca"],
    }
    return [path for path, needed in some.items() if not (needed and cache["live"])]


def _is_path(address: str) -> bool:
    return address.startswith("unix:")


def _crosses_network(address: str) -> bool:
    return not _is_path(address) and not ipaddress.ip_address(address.rpartition(":")[0].strip("[]")).is_loopback


def _address(path: str, value: Any) -> str:
    if isinstance(value, str):
        if _PATH.fullmatch(value):
            return str(value)
        found = _PORT.fullmatch(value)
        if found and 0 < int(found[4]) < 65_536 and _is_address(found[2], bool(found[1]), bool(found[3])):
            return str(value)
    # What it is may hold a password.
    raise WishError(path, f"is {kind(value)} that is no address of a store", _ADDRESS)


def _is_address(text: str, *brackets: bool) -> bool:
    try:
        version = ipaddress.ip_address(text).version
    except ValueError:
        return False
    return all(bracket == (version == 6) for bracket in brackets)


_FIELDS: dict[str, checks.Check] = {
    "address": _address,
    "tls_name": checks.matching(_NAME, "give the name in the store's certificate"),
    "ca": checks.pem,
    "user": checks.matching(_WORD, "give up to 64 letters, digits and . _ : -"),
    "password": checks.matching(_PASSWORD, "give up to 512 characters of ASCII without blanks", is_secret=True),
    "prefix": checks.matching(_WORD, "give up to 64 letters, digits and . _ : -"),
}
