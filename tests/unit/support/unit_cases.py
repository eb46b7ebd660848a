# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Every service that the roles lay down, rendered as for a host with one instance and put together with its drop-in."""

from __future__ import annotations

import types
from functools import cache
from pathlib import Path

import jinja2
from ansible.plugins.filter.core import comment, get_hash, to_json, to_nice_json, to_nice_yaml
from ansible_collections.tfserving.fleet.plugins.filter.address_networks import address_networks
from ansible_collections.tfserving.fleet.plugins.filter.environment_line import environment_line
from ansible_collections.tfserving.fleet.plugins.filter.instance_account import instance_account
from ansible_collections.tfserving.fleet.plugins.filter.instance_environment import instance_environment
from ansible_collections.tfserving.fleet.plugins.filter.server_flags import server_flags
from ansible_collections.tfserving.fleet.plugins.filter.systemd_line import systemd_line
from ansible_collections.tfserving.fleet.plugins.filter.systemd_quote import systemd_quote
from ansible_collections.tfserving.fleet.plugins.filter.textproto import textproto
from planner_cases import box, instance, plan
from repository import REPOSITORY

ROLES = REPOSITORY / "roles"
VARIABLES = {
    "ansible_managed": "x",
    "tfserving_group": "tfserving",
    "tfserving_open_files": 65536,
    "tfserving_address_rules": "systemd",
    "tfserving_allow_from": ["localhost"],
    "tfserving_allow_to": [],
    "tfserving_plan": {"gate": {"port": 8490, "drain_timeout_s": 60, "longest_call_s": 30, "gateways": []}},
    "__gateway_plan": {
        "cache": {
            "engine": "varnish",
            "store": {"is_local": True, "port": 0, "address": "unix:/x", "has_password": False},
            "generation": "x",
            "memory_mb": 256,
            "spare_mb": 64,
            "unit_memory_mb": 628,
            "store_memory_mb": 448,
            "reasons": {"memory_mb": "x", "spare_mb": "x", "unit_memory_mb": "x"},
        }
    },
    "__tfserving_own_addresses": ["localhost"],
    "__tfserving_readers": [],
    "__tfserving_gate_revision": "x",
    "__tfserving_tls": False,
    "__tfserving_unit_revision": "x",
    "__tfserving_unsurveyed": True,
    "__nvidia_driver_boot_commands": [["/usr/bin/nvidia-smi", "--persistence-mode=1"]],
}


def flatten(values):
    return [each for value in values for each in (value if isinstance(value, list) else [value])]


def drawn_out(value):
    """Return lists in place of generators, as Ansible's own templating does."""
    if isinstance(value, dict):
        return {key: drawn_out(each) for key, each in value.items()}
    return list(value) if isinstance(value, types.GeneratorType) else value


def rendered(path: Path, **variables) -> str:
    """Render a template as a role does."""
    return _template(path).render(**VARIABLES | variables)


@cache
def _template(path: Path) -> jinja2.Template:
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {
        "comment": comment,
        "flatten": flatten,
        "hash": get_hash,
        "to_json": to_json,
        "to_nice_json": lambda value: to_nice_json(drawn_out(value)),
        "to_nice_yaml": to_nice_yaml,
        "tfserving.fleet.systemd_quote": systemd_quote,
        "tfserving.fleet.systemd_line": systemd_line,
        "tfserving.fleet.server_flags": server_flags,
        "tfserving.fleet.instance_account": instance_account,
        "tfserving.fleet.address_networks": address_networks,
        "tfserving.fleet.environment_line": environment_line,
        "tfserving.fleet.instance_environment": instance_environment,
        "tfserving.fleet.textproto": textproto,
    }
    return environment.from_string(path.read_text())


def services(wish=None, machine=None, policy=None, **variables) -> dict[str, str]:
    """Return the text of each service by its name, ``@`` filled with the instance's name, its drop-in after it."""
    (planned,) = plan(machine or box(), [instance(**(wish or {}))], **(policy or {}))["instances"]
    variables = {**variables, "instance": planned}
    found = {}
    for path in sorted(ROLES.glob("*/templates/**/systemd/system/*.service.j2")):
        drop_in = path.parent / f"{path.name.replace('@.', '@{instance}.').removesuffix('.j2')}.d/10-plan.conf.j2"
        parts = [rendered(each, **variables) for each in (path, drop_in) if each.exists()]
        found[path.name.removesuffix(".j2").replace("@", f"@{planned['name']}")] = "\n".join(parts)
    return found
