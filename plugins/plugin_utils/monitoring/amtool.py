# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The configuration of amtool: how people and runs reach this host's Alertmanager, whatever it is set to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .configuration import FOLDER, guard
from .schema import Watcher

HTTP_FILE = f"{FOLDER}/amtool-http.yml"


def configuration(settings: Mapping[str, Any], own: Watcher) -> dict[str, Any]:
    """Return amtool.yml as data. By loopback, since a host need not reach itself at the address that others know."""
    url = f"{'https' if own['tls'] else 'http'}://127.0.0.1:{own['alertmanager_port']}/"
    return {"alertmanager.url": url, **({"http.config.file": HTTP_FILE} if http(settings, own) else {})}


def http(settings: Mapping[str, Any], own: Watcher) -> dict[str, Any]:
    """Return what that file refers to for TLS and the account: names of files, no secret; empty for neither."""
    found = guard(settings)
    if own["tls"]:
        # Certificates name the address of their host, not loopback.
        found["tls_config"] = {**found["tls_config"], "server_name": own["address"]}
    return found
