# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The planner's policy: its settings besides the host and the wishes, with their defaults and reasons.

A policy is a mapping of the settings that differ from ``DEFAULTS``. Unknown keys are refused at every level.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import defaults, errors, scalars
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described, key_path, kind
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals
from ansible_collections.tfserving.fleet.plugins.module_utils.releases import ids as release_ids
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ..server import sandbox_paths
from ..tables import surveyed
from . import bounds as wish_bounds
from . import checks as fields
from . import contract as wish_contract
from . import gate, golden, monitoring, tuned

ROOT = "host_plan_policy"
# The key of the policy for what users set in ROOT.
OVERRIDES = "overrides"

# Below a thousandth of the objective, queues would outgrow any server's memory.
SMALLEST_PART = 0.001

# Settings that users know by the name of a variable.
PATHS = {
    "version": "tfserving_version",
    "install_method": "tfserving_install_method",
    "releases.root": "tfserving_release_root",
    "releases.images": "tfserving_images",
    "releases.archives": "tfserving_archives",
    "releases.package": "tfserving_apt_package",
    "tls": "tfserving_tls",
    "address_rules": "tfserving_address_rules",
    "paths.models": "tfserving_model_root",
    "kernel": "kernel_tuning_*",
    "extra_slices": "cpu_partition_extra_slices",
    "driver_waits_for_boot": "nvidia_driver_reboot_reasons",
    "tuned": "tfserving_tuned",
    "gate.when": "tfserving_gate",
    "gate.port": "tfserving_gate_port",
    "gate.drain_timeout_s": gate.TIMEOUT,
    "gate.longest_call_s": gate.LONGEST,
    "gate.gateways": gate.GROUP,
    "monitoring.hosts": monitoring.GROUP,
    "monitoring.networks": monitoring.ALLOW_FROM,
    "monitoring.node_port": monitoring.NODE_PORT,
    "rollout": "host_plan_rollout",
}
# What the hosts' records say. Set by a user, it would let a version pass that nobody has looked at.
RECORDED = ("in_force", "reverted", "unseen")

STAGES = ("hold", "both", "new", "old")
# A reason that a record gives is told in one sentence.
LONGEST_REASON = 1000

DEFAULTS: dict[str, Any] = {
    "version": defaults.VERSION,
    "install_method": "apt",
    "releases": {"root": defaults.RELEASES, "images": {}, "archives": {}, "package": defaults.PACKAGE},
    # Whether the gRPC ports use TLS; the plan does not deal with keys and certificates.
    "tls": False,
    # What enforces the address rules, for incoming and outgoing connections.
    "address_rules": "systemd",
    "architecture": None,  # overrides that of the topology
    "paths": {"models": defaults.MODELS, "config": defaults.CONFIG},
    "housekeeping": {
        # sshd, journald, exporters, NIC interrupts and kernel threads keep one core busy on a typical node; a node with
        # more cores has more queues, and more instances to observe.
        "cores_per_node": "auto",  # 1, and 2 on nodes of more than `large_node_cores`
        "large_node_cores": 16,
        # The share that a node of eight cores gives. With smaller nodes (sub-NUMA, a node for each cache), a core of
        # each would be up to half of the host, so only nodes with NICs give one. Rounded up to a whole core.
        "largest_share": 0.125,
        # Below this, a core for the system would be a third of the host or more, which costs more than it gains.
        "smallest_host_cores": 4,
    },
    "jemalloc": {"enabled": True, "preset": "balanced", "conf": {}},
    # auto: as the profile says; off: only for instances that ask for it
    "batching": "auto",
    # The figures of each profile; the rules that use them are in planner/threads.py and planner/batching.py.
    "profiles": {
        "latency": {
            "inter_op_share": 0.25,
            "request_threads_per_cpu": 2,
            "batching": False,
            "slo_p99_ms": 50,
            "max_batch_size": {"cpu": 8, "gpu": 16},
            "timeout_share": {"cpu": 0, "gpu": 0.02},
            # Until it is measured (batching.expected_batch_ms): 3 ms of 100 ms, the time that the lab's ranker takes on
            # one CPU. Batch size, and with it the time a batch takes, scales with the objective. If the guess is too
            # low, a request behind a full queue is late; if it is too high, the server sheds requests that it could
            # have answered.
            "batch_share": 0.03,
        },
        "balanced": {
            "inter_op_share": 0.5,
            "request_threads_per_cpu": 4,
            "batching": True,
            "slo_p99_ms": 100,
            "max_batch_size": {"cpu": 32, "gpu": 64},
            "timeout_share": {"cpu": 0, "gpu": 0.05},
            "batch_share": 0.03,
        },
        "throughput": {
            "inter_op_share": 0.75,
            "request_threads_per_cpu": 4,
            "batching": True,
            "slo_p99_ms": 500,
            "max_batch_size": {"cpu": 64, "gpu": 256},
            "timeout_share": {"cpu": 0.02, "gpu": 0.1},
            "batch_share": 0.03,
        },
    },
    "memory": {
        # The system's own needs: page cache for logs, agents, and room for the kernel. A tenth, within these bounds.
        "system_share": 0.1,
        "system_least_mb": 1024,
        "system_most_mb": 16384,
        # A loaded model takes about 1.2 times its files: variables are copied, and both the graph and its optimised
        # copy are kept (the server's own RAM estimate is 1.2 times the file sizes:
        # servables/tensorflow/bundle_factory_util.cc, kResourceEstimateRAMMultiplier).
        "model_factor": 1.2,
        # The process without a model: TensorFlow's libraries, pools and arenas.
        "process_mb": 512,
        # GPU memory of CUDA's context and kernels, outside TensorFlow's own pool, per process.
        "gpu_context_mb": 512,
    },
    "drain_then_swap": False,
    # Permits GPUs that a release should run on but was reported to fail on (server_runtimes.yml).
    "allow_unproven_gpus": False,
    # For a release newer than any surveyed one, permits flags and fields that no surveyed release has, and skips the
    # checks of the host.
    "allow_unsurveyed_release": False,
    # Reasons, from the role nvidia_driver, why the host must reboot before its GPUs can be used.
    "driver_waits_for_boot": [],
    # Overrides for planner/kernel.py, by the part of the variable's name after kernel_tuning_.
    "kernel": {},
    # Further top-level slices to keep on the housekeeping CPUs, such as kubepods.slice.
    "extra_slices": [],
    # Settings of instances that a measurement has found, by the instance's name.
    "tuned": {},
    # The gate of the instances; see planner/gate.py.
    "gate": {"when": "auto", "port": 8490, "drain_timeout_s": 60, "longest_call_s": 30, "gateways": []},
    # Who reads figures of this host; see planner/monitoring.py.
    "monitoring": {"hosts": [], "networks": [], "node_port": 9100},
    # The stage of each model in a roll-out: hold serves what is in force, both this and what is wished, new what is
    # wished, old what was served before.
    "rollout": {},
    # What serves now, from the records of this host and, where it has none, of the others: versions, labels, the size
    # of these versions, what proves each of them (proofs), and what was served before the last roll-out (previous), by
    # the model's name.
    "in_force": {},
    # Versions that a roll-out has reverted: the reason by version, by the model's name.
    "reverted": {},
    # Hosts of the fleet whose records nobody has read, where no record says what the fleet serves.
    "unseen": [],
    # The server re-reads its models file at this interval and logs two lines each time, changed or not; 10 s is quick
    # enough for people and keeps the journal readable.
    "poll_seconds": 10,
    "metrics_path": "/monitoring/prometheus/metrics",
    # The profiler answers anyone who reaches the gRPC port, without authentication, and is on by default upstream.
    "profiler": False,
}


# Characters that need no escaping in a request's path.
_METRICS_PATH = re.compile(r"/[A-Za-z0-9._~/-]{0,254}")


def _release(path: str, value: Any) -> str:
    try:
        surveyed.parse(value)
    except WishError as error:
        raise WishError(path, error.problem, error.remedy) from None
    return str(value)


_share = fields.within(0, 1, "a share")
_part = fields.within(SMALLEST_PART, 1, "a share")


def _served_directory(path: str, value: Any) -> str:
    """Check the path of a directory that servers read: it must be visible in their sandbox and belong to us alone."""
    found = fields.directory(path, value)
    reason = sandbox_paths.hidden(found) or sandbox_paths.systems(found)
    if reason:
        raise WishError(path, f"is {described(value)}, {reason}", "give a directory such as /srv/tfserving")
    return found


def _cores_per_node(path: str, value: Any) -> Any:
    return value if value == "auto" else fields.whole(1, what="'auto' or a count of cores")(path, value)


def _names(path: str, value: Any) -> list[str]:
    return fields.distinct(path, value, fields.text) if value else []


def _metrics_path(path: str, value: Any) -> str:
    # The server compares this text exactly with the path of a request.
    if isinstance(value, str) and _METRICS_PATH.fullmatch(value):
        return str(value)
    raise WishError(path, f"is {described(value)}", "give a path that begins with '/'")


_SERVED: dict[str, fields.Check] = {"versions": fields.versions, "labels": fields.labels}


def _of_models(check: fields.Check) -> fields.Check:
    """Return a check of a mapping from models to what ``check`` takes."""

    def checked(path: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise WishError(path, f"is {kind(value)}", "give a mapping with the name of a model as each key")
        return {fields.model_name(path, name): check(key_path(path, name), each) for name, each in value.items()}

    return checked


def _before(path: str, value: Any) -> dict[str, Any]:
    return fields.fields(path, value, "served versions", _SERVED)


_PROOF: dict[str, fields.Check] = {
    "contract": wish_contract.contract,
    "probe": wish_contract.probe,
    "golden": golden.recorded,
    "warmup": golden.warmup,
}


def _proofs(path: str, value: Any) -> dict[int, dict[str, Any]]:
    """Check what proves each version; JSON makes the numbers text."""
    given = fields.mapping(path, value)
    return {
        fields.version(path, number): fields.fields(f"{path}.{number}", each, "a proof", _PROOF)
        for number, each in given.items()
    }


_IN_FORCE: dict[str, fields.Check] = {
    **_SERVED,
    "proofs": _proofs,
    "memory_mb": fields.whole(1, 10**9, "the size of one loaded version in MB, a whole number"),
    "previous": _before,
}


def _in_force(path: str, value: Any) -> dict[str, Any]:
    return {"labels": {}, "proofs": {}, **fields.fields(path, value, "served versions", _IN_FORCE)}


def _reasons(path: str, value: Any) -> dict[int, str]:
    """Check the reasons of reverted versions; JSON makes the numbers text."""
    given = fields.mapping(path, value)
    return {fields.version(path, number): told(str(reason), LONGEST_REASON) for number, reason in given.items()}


_PROFILE = {
    "inter_op_share": _share,
    "request_threads_per_cpu": fields.positive,
    "batching": scalars.boolean,
    "slo_p99_ms": fields.positive,
    "max_batch_size": dict.fromkeys(("cpu", "gpu"), fields.whole(2, 4096, "a batch size")),
    "timeout_share": dict.fromkeys(("cpu", "gpu"), _share),
    "batch_share": _part,
}
_MEGABYTES = fields.whole(0, what="an amount in MB")

# The same structure as DEFAULTS, with a check in place of each value.
CHECKS: dict[str, Any] = {
    "version": _release,
    "install_method": fields.one_of(*release_ids.METHODS),
    "releases": {
        "root": _served_directory,
        "images": fields.mapping,
        "archives": fields.mapping,
        "package": fields.text,
    },
    "tls": scalars.boolean,
    "address_rules": fields.one_of("systemd", "nftables"),
    "architecture": fields.text,
    # The configuration directory is fixed: the units contain its path.
    "paths": {"models": _served_directory, "config": fields.one_of(defaults.CONFIG)},
    "housekeeping": {
        "cores_per_node": _cores_per_node,
        "large_node_cores": fields.whole(),
        # A share of 0 would leave no core for the system.
        "largest_share": _part,
        "smallest_host_cores": fields.whole(2),
    },
    "jemalloc": {"enabled": scalars.boolean, "preset": fields.text, "conf": fields.mapping},
    "batching": fields.one_of("auto", "off"),
    "profiles": dict.fromkeys(DEFAULTS["profiles"], _PROFILE),
    "memory": {
        "system_share": _share,
        "system_least_mb": _MEGABYTES,
        "system_most_mb": _MEGABYTES,
        "model_factor": fields.positive,
        "process_mb": _MEGABYTES,
        "gpu_context_mb": _MEGABYTES,
    },
    "drain_then_swap": scalars.boolean,
    "allow_unproven_gpus": scalars.boolean,
    "allow_unsurveyed_release": scalars.boolean,
    "driver_waits_for_boot": _names,
    "kernel": fields.mapping,
    "extra_slices": _names,
    "tuned": tuned.check,
    "gate": {
        "when": fields.one_of("auto", "always", "never"),
        "port": fields.whole(1, 65535, "a port"),
        "drain_timeout_s": fields.whole(1, 3600, "a number of seconds"),
        "longest_call_s": fields.whole(1, 3600, "a number of seconds"),
        "gateways": gate.listed,
    },
    "monitoring": {
        "hosts": monitoring.listed,
        "networks": monitoring.networks,
        "node_port": fields.PORT_FIELDS["rest"],
    },
    "rollout": _of_models(fields.one_of(*STAGES)),
    "in_force": _of_models(_in_force),
    "reverted": _of_models(_reasons),
    "unseen": _names,
    "poll_seconds": fields.whole(1, 3600, "a number of seconds"),
    "metrics_path": _metrics_path,
    "profiler": scalars.boolean,
}


def complete(policy: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return ``policy`` with all settings filled in; raise WishErrors for what is unknown or impossible."""
    refusals = Refusals()
    for place, value in policy.items() if isinstance(policy, Mapping) else ():
        bounds = wish_bounds.RECORD if place in RECORDED else wish_bounds.WISH
        refusals.check(wish_bounds.check, _path(str(place)) if place in CHECKS else ROOT, value, bounds)
    refusals.stop()
    given = dict(policy) if isinstance(policy, Mapping) else policy or {}
    overrides = given.pop(OVERRIDES, None) if isinstance(given, dict) else None
    result = _complete("", given, DEFAULTS, CHECKS, refusals)
    _refuse_second_names(overrides, refusals)
    if overrides is not None:
        result = _complete("", overrides, result, CHECKS, refusals)
    _refuse_one_in_the_other(result, refusals)
    refusals.stop()
    return result


def _refuse_second_names(overrides: Any, refusals: Refusals) -> None:
    """Refuse settings whose variables roles read too: set here, they would only apply to the plan."""
    for place, variable in PATHS.items():
        found: Any = overrides
        for key in place.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is not None:
            refusals.add(WishError(f"{ROOT}.{place}", "has a variable of its own", f"set {variable} instead"))
    for place in RECORDED:
        if isinstance(overrides, Mapping) and place in overrides:
            refusals.add(WishError(f"{ROOT}.{place}", "is read from the hosts", "remove it"))


def _refuse_one_in_the_other(policy: Mapping[str, Any], refusals: Refusals) -> None:
    models, releases = policy["paths"]["models"], policy["releases"]["root"]
    if posixpath.commonpath([models, releases]) in (models, releases):
        problem = f"is {models}, and {PATHS['releases.root']} is {releases}: one lies in the other"
        refusals.add(WishError(PATHS["paths.models"], problem, "give models and releases directories of their own"))


def _complete(
    place: str, given: Any, defaults: Mapping[str, Any], checks: Mapping[str, Any], refusals: Refusals
) -> dict[str, Any]:
    # The result shares unchanged parts with DEFAULTS: the planner reads policies and never writes them.
    result = dict(defaults)
    if not isinstance(given, Mapping):
        refusals.add(WishError(_path(place), f"is {kind(given)}", "give a mapping"))
        return result
    for key, value in given.items():
        inner = f"{place}.{key}" if place else str(key)
        if key not in checks:
            refusals.add(errors.unknown_key(_path(place), key, "the policy", checks))
        elif isinstance(checks[key], Mapping):
            result[key] = _complete(inner, value, defaults[key], checks[key], refusals)
        elif value is not None:
            result[key] = refusals.check(checks[key], _path(inner), value, default=defaults[key])
    return result


def _path(place: str) -> str:
    return PATHS.get(place, f"{ROOT}.{place}" if place else ROOT)
