# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who may open the pages of Prometheus, Alertmanager and the node exporter: TLS and accounts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from .settings import ACCOUNT, is_hash

# (password, salt, cost) -> bcrypt's text
Hash = Callable[[str, str, int], str]

# The cost of a try doubles with each step. The exporters check the fleet's own password all day; it has 16 characters
# at least, which nobody tries out.
COST, OWN_COST = 10, 6
_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
# A salt has 128 bits: of its 22nd letter only two count.
_LAST = ".Oeu"


def web(settings: Mapping[str, Any], host: str, folder: str, hashed: Hash, people: bool = True) -> dict[str, Any]:
    """Return a web configuration file as data; empty for neither TLS nor accounts.

    :param folder: where the certificate and its key are.
    :param people: whether the accounts of people belong in it too.
    """
    found: dict[str, Any] = {}
    if settings["monitoring_tls_certificate"]:
        found["tls_server_config"] = {
            "cert_file": f"{folder}/tls.crt",
            "key_file": f"{folder}/tls.key",
            "min_version": "TLS12",
        }
    if settings["monitoring_password"]:
        users = settings["monitoring_users"] if people else {}
        found["basic_auth_users"] = {
            ACCOUNT: _hash(hashed, settings["monitoring_password"], host, ACCOUNT, OWN_COST),
            **{name: _hash(hashed, each, host, name, COST) for name, each in sorted(users.items())},
        }
    return found


def _hash(hashed: Hash, password: str, host: str, account: str, cost: int) -> str:
    if is_hash(password):
        return password
    try:
        return hashed(password, salt(host, account), cost)
    # Whatever library there is, and however it fails: its words may quote the password.
    except Exception:
        failed = True
    if failed:
        remedy = "" if account == ACCOUNT else ", or give the hash that htpasswd -nBC 10 prints"
        raise WishError(
            "monitoring_password" if account == ACCOUNT else f"monitoring_users.{account}",
            "cannot be hashed, as this controller's Python knows no bcrypt",
            f"install its package passlib with bcrypt{remedy}",
        )
    raise AssertionError


def salt(host: str, account: str) -> str:
    """Return a salt that is another for each host and account, and the same in every run.

    A salt is no secret. It only has to differ, so that equal passwords have different hashes.
    """
    digest = hashlib.sha256(f"tfserving monitoring {host} {account}".encode()).digest()
    return "".join(_ALPHABET[byte % 64] for byte in digest[:21]) + _LAST[digest[21] % 4]
