# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What gateways are told of old servers until they are taken over: where each is, and what it serves."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ..diagnosis.reading import listed, mapping, text
from ..gateway import adopted
from ..phrases import joined
from . import check_place
from .case import Case
from .unsafe import document

FOLDER = "group_vars/tfserving_gateways"
ADOPTED_FILE = f"{FOLDER}/adopted.yml"
SHARE_FILE = f"{FOLDER}/share.yml"

_HEADING = (
    "Old servers that gateways call until they are taken over, each beside the instance that replaces it. Remove what"
    " they are not to call."
)
_SHARE_HEADING = "The percentage of the calls that the new instances get. adopt_share.yml changes it step by step."


def share_text(share: int) -> str:
    """Return the file of the share."""
    return document({adopted.SHARE: share}, {}, _SHARE_HEADING)


def files(cases: Sequence[Case], names: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """Return the files of the inventory ``beside`` that tell gateways of old servers.

    :param cases: the servers of all hosts.
    :param names: the name of the instance that replaces a server, by the host and the server's name.
    """
    entries, left = [], []
    for case in cases:
        instance = names.get((case.host, case.name), "")
        if case.running and instance:
            models, without = _models(case)
            why = _unreachable(case) or ("" if models else joined(without) or "it serves no model that is known")
            left += (
                [f"{case.host} {case.name}: {why}"] if why else [f"{case.host} {case.name}: {each}" for each in without]
            )
            entries += [] if why else [_entry(case, instance, models)]
    if not entries and not left:
        return {}
    heading = f"{_HEADING} Left out: {'; '.join(told(each, 200) for each in left)}." if left else _HEADING
    return {
        ADOPTED_FILE: document({adopted.ADOPTED: entries}, {}, heading),
        SHARE_FILE: share_text(0),
    }


def _entry(case: Case, instance: str, models: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    secured = {"tls": True} if case.line["ssl_config_file"] else {}
    ports = check_place.host_ports(case)
    return {"host": case.host, "instance": instance, "ports": ports, "models": dict(models), **secured}


def _models(case: Case) -> tuple[dict[str, list[int]], list[str]]:
    """Return the versions that a server really serves of each model, and why a model is not shared."""
    found: dict[str, list[int]] = {}
    for each in case.serves:
        if each["state"] == "AVAILABLE":
            found.setdefault(each["model"], []).append(each["version"])
    labelled = sorted({model.name for model in case.models if model.labels} & set(found))
    known = {model: sorted(set(versions)) for model, versions in sorted(found.items()) if model not in labelled}
    return known, [f"{model} is called by labels" for model in labelled]


def _unreachable(case: Case) -> str:
    """Return why no gateway could call a server; empty if one can."""
    ports = check_place.host_ports(case)
    for protocol, name in (("rest", "REST"), ("grpc", "gRPC")):
        if protocol not in ports:
            return f"it has no port of {name} on the host"
        if any(_is_loopback(each) for each in _addresses(case, ports[protocol])):
            return f"its port {ports[protocol]} is open on the host alone"
    return ""


def _addresses(case: Case, port: int) -> Iterator[str]:
    if case.by_host_network:
        seen = [mapping(each) for each in listed(case.server.get("listening"))]
        found = [text(each.get("address")) for each in seen if each.get("port") == port]
    else:
        seen = [mapping(each) for each in listed(case.container.get("ports"))]
        found = [text(each.get("host_ip")) for each in seen if each.get("host_port") == port]
    # One address that others reach is enough.
    yield from found if all(map(_is_loopback, found)) else ()


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False
