# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Derived inputs for the planner, the fleet checks and the bundle, from the checked variables of a host.

Pure functions. ``values`` are the variables that are set, by name; others have the defaults of their roles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from . import gate, monitoring
from .inventory import Values, value

KEYRING = "/etc/apt/keyrings/tfserving.gpg"
SOURCES = "/etc/apt/sources.list.d/tfserving.sources"

_TUNING = "kernel_tuning_"
# Variables that steer the role kernel_tuning itself and are not kernel settings.
_SWITCHES = ("kernel_tuning_state", "kernel_tuning_require_live")
# Names outside this pattern are left to the plan, which refuses them.
_INSTANCE = re.compile(r"[A-Za-z0-9_.-]{1,255}")


def policy(
    values: Values, gateways: Sequence[Mapping[str, str]] = (), watchers: Sequence[Mapping[str, str]] = ()
) -> dict[str, Any]:
    """Return the planner's policy: its input besides the host, the models and the instances.

    :param gateways: what ``gate.gateways`` returned.
    :param watchers: what ``monitoring.hosts`` returned.
    """
    return {
        "version": value(values, "tfserving_version"),
        "install_method": value(values, "tfserving_install_method"),
        "releases": {
            "root": value(values, "tfserving_release_root"),
            "images": value(values, "tfserving_images"),
            "archives": value(values, "tfserving_archives"),
            "package": value(values, "tfserving_apt_package"),
        },
        "tls": len(value(values, "tfserving_tls_certificate")) > 0,
        "address_rules": value(values, "tfserving_address_rules"),
        "paths": {"models": value(values, "tfserving_model_root")},
        # Only what the inventory sets; the planner has defaults for the rest.
        "kernel": {
            name.removeprefix(_TUNING): values[name]
            for name in values
            if name.startswith(_TUNING) and name not in _SWITCHES
        },
        "extra_slices": value(values, "cpu_partition_extra_slices"),
        "tuned": value(values, "tfserving_tuned"),
        "gate": {
            "when": value(values, "tfserving_gate"),
            "port": value(values, "tfserving_gate_port"),
            "drain_timeout_s": value(values, gate.TIMEOUT),
            "longest_call_s": value(values, gate.LONGEST),
            "gateways": [dict(each) for each in gateways],
        },
        "monitoring": {
            "hosts": [dict(each) for each in watchers],
            "networks": value(values, monitoring.ALLOW_FROM),
            "node_port": value(values, monitoring.NODE_PORT),
        },
        "jemalloc": {
            "enabled": value(values, "tfserving_allocator") == "jemalloc",
            "preset": value(values, "tfserving_allocator_preset"),
            "conf": value(values, "tfserving_allocator_conf"),
        },
        "overrides": value(values, "host_plan_policy"),
    }


def _gated(values: Values, gateways: Sequence[Mapping[str, str]]) -> bool:
    return gate.wanted(value(values, "tfserving_gate"), gateways)


def servers(values: Values) -> dict[str, Any]:
    """Return the servers' group, the names of the instances, and the apt repository if they come from one."""
    # Without instances, the plan makes one that serves all models.
    instances = value(values, "tfserving_instances") or [{"name": "main"}]
    names = [each.get("name") for each in instances if isinstance(each, Mapping)]
    return {
        "group": value(values, "tfserving_group"),
        "instances": [name for name in names if isinstance(name, str) and _INSTANCE.fullmatch(name)],
        "repository": _repository(values) if value(values, "tfserving_install_method") == "apt" else {},
    }


def _repository(values: Values) -> dict[str, Any]:
    return {
        "uri": value(values, "tfserving_apt_repository_uri"),
        "suites": value(values, "tfserving_apt_suite").split(),
        "signed_by": KEYRING,
        "own": SOURCES,
    }


def _uses_gpus(values: Values) -> bool:
    instances = value(values, "tfserving_instances")
    return any(each.get("gpus", 0) not in (0, []) for each in instances if isinstance(each, Mapping))


def bundle(
    values: Values,
    more_packages: Sequence[str] = (),
    gateways: Sequence[Mapping[str, str]] = (),
    watchers: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """Return the wishes that decide which artifacts a host needs, in the form that ``bundle.needs`` takes.

    ``more_packages`` is the playbook's own ``bundle_packages``, ``gateways`` is what ``gate.gateways`` returned, and
    ``watchers`` what ``monitoring.hosts`` did.
    """
    return {
        "lacks_driver": value(values, "nvidia_driver_state") == "present" and _uses_gpus(values),
        "more_packages": list(more_packages),
        "version": str(value(values, "tfserving_version")),
        "method": value(values, "tfserving_install_method"),
        "models": value(values, "tfserving_models"),
        "headers": value(values, "model_repository_headers"),
        "images": value(values, "tfserving_images"),
        "archives": value(values, "tfserving_archives"),
        "release_root": value(values, "tfserving_release_root"),
        "allocator": value(values, "tfserving_allocator"),
        "jemalloc_package": value(values, "jemalloc_package"),
        "watched": monitoring.wanted(watchers, value(values, monitoring.ALLOW_FROM)),
        "packet_filter": value(values, "tfserving_address_rules") == "nftables" or _gated(values, gateways),
        "apt": {
            "package": value(values, "tfserving_apt_package"),
            "uri": value(values, "tfserving_apt_repository_uri"),
            "suite": value(values, "tfserving_apt_suite"),
            "key_url": value(values, "tfserving_apt_key_url"),
            "fingerprint": value(values, "tfserving_apt_key_fingerprint"),
        },
    }
