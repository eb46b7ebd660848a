# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The variables of the role monitoring that the plan reads, with their defaults and checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, kind
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals
from ansible_collections.tfserving.fleet.plugins.module_utils.scalars import boolean

from ..wishes import checks
from ..wishes import monitoring as wishes
from ..wishes.settings import completed

DEFAULTS: dict[str, Any] = {
    "monitoring_state": "present",
    "monitoring_fleet": "tfserving",
    "monitoring_availability": 0.999,
    "monitoring_allow_from": [],
    "monitoring_web_allow_from": [],
    "monitoring_node_port": 9100,
    "monitoring_dcgm_port": 0,
    "monitoring_prometheus_port": 9090,
    "monitoring_alertmanager_port": 9093,
    "monitoring_cluster_port": 9094,
    "monitoring_retention_days": 30,
    "monitoring_disk_mb": 0,
    "monitoring_url": "",
    "monitoring_mail": {},
    "monitoring_webhooks": [],
    "monitoring_password": "",
    "monitoring_users": {},
    "monitoring_tls_certificate": "",
    "monitoring_tls_key": "",
    "monitoring_tls_ca": "",
}
SECRETS = ("monitoring_mail", "monitoring_webhooks", "monitoring_password", "monitoring_users", "monitoring_tls_key")
# The account of the fleet's own Prometheus.
ACCOUNT = "tfserving"
SEVERITIES = ("page", "ticket")
PORTS = ("monitoring_prometheus_port", "monitoring_alertmanager_port", "monitoring_cluster_port", wishes.NODE_PORT)

# A label's value that stays readable in every page and mail.
_FLEET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_BCRYPT = re.compile(r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}")
# It is hashed cheaply, since exporters check it all day, so it has to be long.
_PASSWORD = re.compile(r"[!-~]{16,72}")
# bcrypt reads 72 bytes and no more.
_OF_PEOPLE = re.compile(r"[ -~]{8,72}")
_MAILBOX = re.compile(r"[A-Za-z0-9._%+=-]{1,64}@[A-Za-z0-9.-]{1,190}")
_SMARTHOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,190}):[0-9]{1,5}")
MOST_MAILBOXES = 50


def complete(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings, checked, with the defaults where none is given, or raise WishError for all wrong ones."""
    return completed(given, ("monitoring", "monitoring"), DEFAULTS, _CHECKS, _together)


def _together(settings: Mapping[str, Any], refusals: Refusals) -> None:
    """Refuse halves of what belongs together, and ports that are given twice."""
    certificate, key = "monitoring_tls_certificate", "monitoring_tls_key"
    for one, other in ((certificate, key), (key, certificate), (certificate, "monitoring_tls_ca")):
        if settings[one] and not settings[other]:
            refusals.add(WishError(other, f"is empty and {one} is set", "set both, or leave both out"))
    if settings["monitoring_users"] and not settings["monitoring_password"]:
        problem = "is empty and monitoring_users is set, so monitoring hosts could not read each other"
        refusals.add(WishError("monitoring_password", problem, "set it on all hosts"))
    used: dict[int, str] = {}
    for name in PORTS:
        port = settings[name]
        if port in used:
            refusals.add(WishError(name, f"is {port}, as is {used[port]}", "choose another port"))
        used.setdefault(port, name)


_machines = checks.matching(_PASSWORD, "give 16 to 72 letters, digits and signs, without blanks", is_secret=True)
_mailbox = checks.matching(_MAILBOX, "write it as NAME@DOMAIN")


def _password(path: str, value: Any) -> str:
    found = str(_machines(path, value))
    if is_hash(found):
        raise WishError(path, "is a bcrypt hash, and monitoring hosts log in with it", "give the password itself")
    return found


def _optional(check: checks.Check) -> checks.Check:
    return lambda path, value: value if value == "" else check(path, value)


def _users(path: str, value: Any) -> dict[str, str]:
    """Check the passwords, or bcrypt hashes, of people."""
    name = checks.matching(_USER, "use letters, digits and . _ @ -")
    found = {name(f"{path} (a name)", user): each for user, each in checks.mapping(path, value).items()}
    if ACCOUNT in found:
        raise WishError(f"{path}.{ACCOUNT}", "is the monitoring hosts' own account", "choose another name")
    for user, each in found.items():
        if not (isinstance(each, str) and (_BCRYPT.fullmatch(each) or _OF_PEOPLE.fullmatch(each))):
            raise WishError(
                f"{path}.{user}", f"is {kind(each)}", "give a password of 8 to 72 characters, or its bcrypt hash"
            )
    return found


def is_hash(password: str) -> bool:
    """Return whether a password is a bcrypt hash already."""
    return bool(_BCRYPT.fullmatch(password))


def _mailboxes(path: str, value: Any) -> list[str]:
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= MOST_MAILBOXES:
        raise WishError(path, f"is {kind(value)}", f"give a list of 1 to {MOST_MAILBOXES} addresses")
    return [_mailbox(f"{path}[{at}]", each) for at, each in enumerate(value)]


_printable = checks.matching(re.compile(r"[ -~]{1,200}"), "give a text of one line", is_secret=True)
_MAIL: dict[str, checks.Check] = {
    "to": _mailboxes,
    "tickets_to": _mailboxes,
    "from": _mailbox,
    "smarthost": checks.matching(_SMARTHOST, "write it as HOST:PORT"),
    "username": _printable,
    "password": _printable,
    "require_tls": boolean,
}


def _mail(path: str, value: Any) -> dict[str, Any]:
    found = checks.fields(path, value, "mail", _MAIL)
    for key in ("to", "from", "smarthost") if found else ():
        if not found.get(key):
            raise WishError(f"{path}.{key}", "is missing", "set it, or leave out monitoring_mail")
    if ("username" in found) != ("password" in found):
        lacking = "password" if "username" in found else "username"
        raise WishError(f"{path}.{lacking}", "is missing", "set both, or leave both out")
    return found


def _url(path: str, value: Any) -> str:
    """Check an address without quoting it, since one that alerts are posted to may hold a secret."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        good = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"[^!-~]", value):
        raise WishError(path, f"is {kind(value)} and no web address", "begin it with https://HOST/ or http://HOST/")
    return str(value)


def _page(path: str, value: Any) -> str:
    found = _url(path, value)
    if "@" in found or "?" in found or "#" in found:
        raise WishError(path, "holds more than host, port and path", "leave the rest out; everybody sees it")
    return found.rstrip("/")


def _webhooks(path: str, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, (list, tuple)):
        raise WishError(path, f"is {kind(value)}", "give a list of mappings, each with a url")
    return [_webhook(f"{path}[{at}]", each) for at, each in enumerate(value)]


def _webhook(path: str, value: Any) -> dict[str, Any]:
    found = checks.fields(path, value, "a webhook", {"url": _url, "severities": _severities})
    if "url" not in found:
        raise WishError(f"{path}.url", "is missing", "say where alerts are posted to")
    return {"severities": list(SEVERITIES), **found}


def _severities(path: str, value: Any) -> list[str]:
    return checks.distinct(path, value, checks.one_of(*SEVERITIES))


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "monitoring_state": checks.one_of("present", "absent"),
    "monitoring_fleet": checks.matching(_FLEET, "use up to 64 letters, digits and . _ -"),
    # Of one call in a million nobody can tell within 30 days.
    "monitoring_availability": checks.within(0.5, 0.999999, "a share"),
    "monitoring_allow_from": wishes.networks,
    "monitoring_web_allow_from": wishes.networks,
    "monitoring_node_port": checks.PORT_FIELDS["rest"],
    "monitoring_dcgm_port": checks.whole(0, 65535, "a port, or 0 for none"),
    "monitoring_prometheus_port": checks.PORT_FIELDS["rest"],
    "monitoring_alertmanager_port": checks.PORT_FIELDS["rest"],
    "monitoring_cluster_port": checks.PORT_FIELDS["rest"],
    "monitoring_retention_days": checks.whole(1, 3650, "days"),
    "monitoring_disk_mb": checks.whole(0, 10**9, "MiB"),
    "monitoring_url": _optional(_page),
    "monitoring_mail": _mail,
    "monitoring_webhooks": _webhooks,
    "monitoring_password": _optional(_password),
    "monitoring_users": _users,
    "monitoring_tls_certificate": checks.pem,
    "monitoring_tls_key": checks.pem,
    "monitoring_tls_ca": checks.pem,
}
