# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who may call, how often and with how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from .schema import Access, Features
from .servers import Serving

MIB = 1 << 20


def access(settings: Mapping[str, Any], features: Features, version: str) -> Access:
    """Return who may call, or raise WishError for what this HAProxy cannot prove."""
    jwt = settings["gateway_jwt"]
    if jwt and not features["jwt"]:
        problem = f"is set, and HAProxy {version} does not know JSON web tokens"
        raise WishError("gateway_jwt", problem, "use gateway_tokens or gateway_tls_client_ca, or HAProxy 2.6 or newer")
    return {
        "tls": bool(settings["gateway_tls_certificate"]),
        "client_certificates": bool(settings["gateway_tls_client_ca"]),
        "client_names": list(settings["gateway_tls_client_names"]),
        "tokens": bool(settings["gateway_tokens"]),
        "jwt": {key: value for key, value in jwt.items() if key != "key"},
        "rate": dict(settings["gateway_rate_limit"]),
        "body_bytes": settings["gateway_body_limit_mb"] * MIB,
    }


def check_encryption(found: list[Serving], settings: Mapping[str, Any]) -> bool:
    """Return whether the servers' gRPC takes only TLS, or refuse a fleet where some do, or nothing proves them."""
    encrypting = [each.name for each in found if each.instance["encrypts"]]
    if not encrypting:
        return False
    if len(encrypting) < len(found):
        problem = f"is set for {encrypting[0]} and not for all servers"
        raise WishError("tfserving_tls_certificate", problem, "set it for all hosts of the gateway, or for none")
    if not settings["gateway_server_ca"]:
        problem = "is empty, and the servers' gRPC takes only TLS"
        raise WishError("gateway_server_ca", problem, "give the authority of tfserving_tls_certificate")
    return True


def warnings(plan: Access, mode: str) -> list[str]:
    """Return what is open that a reader may believe to be closed."""
    said = []
    if (plan["tokens"] or plan["jwt"]) and not plan["tls"]:
        said.append("gateway_tls_certificate: is empty, so the callers' tokens cross the network for all to read")
    if mode == "tcp":
        said.append(
            "gateway_grpc_mode: tcp passes connections on whole, so gRPC's management methods are open, one connection"
            " stays with one server, and limits of calls and sizes hold for REST only"
        )
    return said
