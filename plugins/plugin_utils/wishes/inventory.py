# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of an inventory before any host is contacted: the variables of all roles at once.

Each role checks its own when it starts, which is too late for the first host of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator, ValidationResult
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from . import addresses, gate, logins, monitoring, roles, tls, variables

ROLES = Path(__file__).resolve().parents[3] / "roles"

# Facts that roles set for others, which are not wishes.
FACTS = frozenset((
    "cpu_partition_boot_parameters",
    "cpu_partition_is_controller",
    "cpu_partition_reboot_required",
    "cpu_partition_result",
    "gateway_result",
    "host_plan_recorded",
    "host_plan_wishes",
    "kernel_tuning_result",
    "load_generator_result",
    "model_repository_result",
    "model_builder_result",
    "monitoring_result",
    "nvidia_driver_due",
    "nvidia_driver_missing_packages",
    "nvidia_driver_reboot_reasons",
    "nvidia_driver_reboot_required",
    "nvidia_driver_status",
    "offline_bundle_result",
    "tfserving_apt_keyring",
    "tfserving_group_exists",
    "tfserving_group_result",
    "tfserving_planned_with",
    "tfserving_prune_due",
    "tfserving_releases_in_use",
    "tfserving_result",
    "tfserving_topology",
))  # fmt: skip

Options = Mapping[str, Mapping[str, Any]]
Values = Mapping[str, Any]


@cache
def role_specs() -> dict[str, dict[str, Any]]:
    """Return the options of the main entry point of every role, by role; callers must not change them."""
    # Use libyaml if PyYAML has it: Ansible forks many workers, and each reads them.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        spec = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
        found[path.parents[1].name] = spec["argument_specs"]["main"]["options"]
    return found


def role_options() -> dict[str, dict[str, Any]]:
    """Return the options of all roles that users set; required ones are passed from role to role instead."""
    return {
        name: option
        for options in role_specs().values()
        for name, option in options.items()
        if not option.get("required")
    }


def value(values: Values, name: str) -> Any:
    """Return the value of a variable, or its role's default if it is not set."""
    return values[name] if name in values else role_options()[name].get("default")


def unknown(names: Iterable[str]) -> tuple[list[WishError], list[str]]:
    """Return refusals of variables that no role knows, and sentences about those that have no effect.

    A misspelt variable would otherwise be ignored silently. A name close to a variable's, or of a removed variable, is
    refused. Any other name with a role's prefix is taken for the user's own and only reported, and so is a name without
    such a prefix that is close to a variable's.
    """
    known = {name for options in role_specs().values() for name in options}
    used = {name for name in names if name[:1].isalpha() and not name.startswith("ansible_")} - FACTS
    prefixes = [f"{role}_" for role in role_specs()]
    ours = {name for name in used if name.startswith(tuple(prefixes))}
    return (
        variables.refusals(ours, known, prefixes),
        [*variables.warnings(ours, known, prefixes), *variables.slips(used - ours, known, prefixes)],
    )


def check(names: Iterable[str], values: Values, refusals: Refusals) -> list[str]:
    """Add all that is wrong with the variables of a host; return sentences about those that have no effect.

    :param names: the names of all variables of the host.
    :param values: the values of those that are options of the roles.
    """
    errors, ignored = unknown(names)
    for error in errors:
        refusals.add(error)
    check_values(values, role_options(), refusals)
    refused = {error.path.partition(".")[0].partition("[")[0] for error in refusals.errors}
    for group, together in TOGETHER:
        if not refused.intersection(group):
            refusals.check(together, *(value(values, name) for name in group))
    return ignored


def complete(values: Values, options: Options) -> dict[str, Any]:
    """Return values that were checked: each in the type of its option, and the defaults of those that are not set."""
    found: dict[str, Any] = _validated(values, options).validated_parameters
    return found


def _validated(values: Values, options: Options) -> ValidationResult:
    # Of a default that is a mapping, ansible-core fills in the suboptions, in the specs themselves.
    return ArgumentSpecValidator(deepcopy(dict(options))).validate(values)


def check_values(values: Values, options: Options, refusals: Refusals) -> None:
    """Add what is wrong with the values of variables with these options."""
    before = len(refusals.errors)
    refusals.check(roles.check, values, options)
    if len(refusals.errors) == before:
        # ansible-core's validator quotes the values that it refuses, so it runs only after the checks that do not.
        for sentence in _validated(values, options).error_messages:
            refusals.add(WishError("", sentence, ""))


# Checks of several variables together, skipped if one of them has been refused already.
TOGETHER: Sequence[tuple[tuple[str, ...], Callable[..., Any]]] = (
    (
        ("tfserving_allow_from", "tfserving_rest_allow_from", "tfserving_address_rules", "tfserving_allow_to"),
        addresses.check,
    ),
    (("tfserving_tls_certificate", "tfserving_tls_key", "tfserving_tls_client_ca"), tls.check),
    (("tfserving_registry_credentials",), logins.auths),
    ((gate.TIMEOUT, gate.LONGEST), gate.check),
    ((monitoring.ALLOW_FROM, monitoring.WEB_ALLOW_FROM), monitoring.check),
)
