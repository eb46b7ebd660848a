# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The wishes of a host that equal its old servers: overrides only where its plan would be another one.

The planner itself is asked: the wishes without an override are planned for the host, the plan is compared with the old
command lines, and each difference that matters becomes an override. What the planner refuses cannot be wished, in its
own words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import defaults
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import WishErrors

from .. import planner
from ..diagnosis.reading import listed, text
from ..tables import surveyed
from ..tables.read import table
from ..wishes import environment as wish_environment
from ..wishes import policy as plan_policy
from ..wishes.checks import ENVIRONMENT_NAME, INSTANCE_NAME, LONGEST_INSTANCE
from ..wishes.instances import FIRST_PORTS, INSTANCES, PORT_STEP
from ..wishes.models import MODELS
from . import check_place, effect
from .case import HIDDEN, Case, cases
from .effect import Override, Row
from .model_wishes import Unwished, models
from .unsafe import Template

# Refusals that are followed by another try, each without one override.
MOST_TRIES = 200
_NAME = re.compile(r"[^A-Za-z0-9_-]+")
# Variables of a process that say nothing about the server, or that the plan sets itself.
_OF_GPUS = ("TF_FORCE_GPU", "TF_GPU", "CUDA_", "NVIDIA_", "NCCL_")
_LEFT_OUT = {
    "CUDA_VISIBLE_DEVICES": "the plan gives the instance its GPUs",
    "CUDA_DEVICE_ORDER": "the plan gives the instance its GPUs",
    "NVIDIA_VISIBLE_DEVICES": "the container runtime reads it, and there is none",
    "NVIDIA_DRIVER_CAPABILITIES": "the container runtime reads it, and there is none",
    "LD_PRELOAD": "the plan preloads its allocator",
    "MALLOC_ARENA_MAX": "it is for the allocator of glibc",
    "MODEL_NAME": "only the image's entrypoint reads it",
    "MODEL_BASE_PATH": "only the image's entrypoint reads it",
    "LD_LIBRARY_PATH": "the libraries of the old place are not those of the new one",
}


@dataclass
class HostWishes:
    """The wishes of a host, why each override is there, and how its servers compare with the plan."""

    host: str
    variables: dict[str, Any]
    notes: dict[tuple[str, ...], str] = field(default_factory=dict)
    unwished: list[Unwished] = field(default_factory=list)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    """The settings now and then, by server."""
    names: dict[str, str] = field(default_factory=dict)
    """The name of the instance by server."""
    plan: Mapping[str, Any] | None = None
    secrets: list[str] = field(default_factory=list)
    """The variables that a vault has to give."""


@dataclass
class _Draft:
    """An instance while its overrides are found."""

    case: Case
    wish: dict[str, Any]
    overrides: dict[str, Override] = field(default_factory=dict)
    variables: list[Override] = field(default_factory=list)
    """The variables of the old server, each an override where the plan has another value or none."""
    lost: dict[str, str] = field(default_factory=dict)
    """Why an override was refused, by its setting."""


def host_wishes(survey: Mapping[str, Any], topology: Any) -> HostWishes:
    """Return the wishes of a host from its survey and its hardware."""
    found = [case for case in cases(survey)]
    running = [case for case in found if case.running]
    known = models([case for case in running if case.line.starts])
    result = HostWishes(text(survey.get("host")), {}, unwished=list(known.unwished))
    result.unwished += [Unwished(case.name, "the server", "it does not run") for case in found if not case.running]
    drafts = _drafts(running, known.served, topology, result)
    policy = _policy(running, result)
    if drafts:
        _settle(drafts, known.wishes, policy, topology, result)
    result.variables[MODELS] = known.wishes
    _finish(drafts, result)
    return result


def _drafts(
    running: Sequence[Case], served: Mapping[str, Sequence[str]], topology: Any, result: HostWishes
) -> list[_Draft]:
    drafts = []
    for case in running:
        if served.get(case.name):
            name = _instance_name(case, served[case.name], set(result.names.values()))
            result.names[case.name] = name
            wish: dict[str, Any] = {"name": name, "models": list(served[case.name])}
            gpus = {each.setting: each for each in _gpus(case, topology, result)}
            drafts.append(_Draft(case, wish, gpus, _environment(case, name, result)))
        elif not any(each.server == case.name for each in result.unwished):
            result.unwished.append(Unwished(case.name, "the server", "it serves no model that can be wished"))
    return drafts


def _instance_name(case: Case, served: Sequence[str], taken: set[str]) -> str:
    """Return a name for a unit: of the old one or the container, else of the only model."""
    given = served[0] if case.kind == "by_hand" and len(served) == 1 else case.name
    bare = _NAME.sub("-", given).strip("-_")[: LONGEST_INSTANCE - 4] or "main"
    bare = bare if INSTANCE_NAME.fullmatch(bare) else "main"
    several = (bare, *(f"{bare}-{number}" for number in range(2, 1000)))
    return next(each for each in several if each not in taken)


def _gpus(case: Case, topology: Any, result: HostWishes) -> list[Override]:
    used = {text(each) for each in listed(case.server.get("gpus"))}
    known = {text(gpu.get("uuid")): gpu.get("index") for gpu in topology.get("gpus") or ()}
    indexes = sorted(known[uuid] for uuid in used if known.get(uuid) is not None)
    if len(indexes) < len(used):
        why = "nvidia-smi no longer names it"
        result.unwished.append(Unwished(case.name, "a GPU that it uses", why, "write its gpus by hand"))
    return [Override(("gpus",), indexes, "the GPUs that the old server uses")] if indexes else []


def _environment(case: Case, name: str, result: HostWishes) -> list[Override]:
    found = []
    for variable, value in case.environment.items():
        reason = _left_out(case, variable) or _refused(variable, value)
        if reason:
            result.rows.setdefault(case.name, []).append(Row(f"variable {variable}", "set", "unset", "left", reason))
        elif value == HIDDEN:
            secret = re.sub(r"[^a-z0-9_]", "_", f"vault_{name}_{variable}".lower())
            result.secrets.append(secret)
            why = "its value is secret, so it is not written here: put it into a vault under this name"
            found.append(Override(("environment", variable), Template(f"{{{{ {secret} }}}}"), why))
        else:
            found.append(Override(("environment", variable), value, "the old server has this variable"))
    return found


def _left_out(case: Case, variable: str) -> str:
    """Return why a variable is left out; empty if it is not."""
    if variable.startswith(_OF_GPUS) and not listed(case.server.get("gpus")):
        return "the server uses no GPU"
    if variable in table("adoption_findings")["dead_variables"]:
        return "nothing reads it"
    return _LEFT_OUT.get(variable, "")


def _refused(variable: str, value: str) -> str:
    """Return why a variable is no wish; empty if it may be one."""
    if not ENVIRONMENT_NAME.fullmatch(variable):
        return "no program reads a variable of this name"
    try:
        wish_environment.wished("environment", {variable: value})
    except WishError as error:
        return error.problem
    return ""


def _policy(running: Sequence[Case], result: HostWishes) -> dict[str, Any]:
    """Return the planner's policy, and add the variables that it comes from."""
    policy: dict[str, Any] = {}
    versions = sorted({case.known_version for case in running if case.known_version}, key=surveyed.numbers)
    if versions and surveyed.numbers(versions[-1]) >= surveyed.numbers(surveyed.oldest()):
        policy["version"] = versions[-1]
        if versions[-1] != defaults.VERSION:
            result.variables["tfserving_version"] = versions[-1]
            result.notes["tfserving_version",] = "the release that the old server runs"
    for case in running:
        if case.known_version != policy.get("version", ""):
            why = f"it is {case.known_version or 'of a release that nobody knows'}, and a host runs one release"
            now = policy.get("version", defaults.VERSION)
            result.unwished.append(Unwished(case.name, "its release", why, f"it would run {now}"))
    if any(listed(case.server.get("gpus")) for case in running):
        _image(running, policy, result)
    _tls(running, policy, result)
    _metrics(running, policy, result)
    if any(each.id == "network.exposed" for case in running for each in check_place.network(case)):
        result.variables["tfserving_allow_from"] = ["any"]
        result.notes["tfserving_allow_from",] = (
            "the old servers are open to everyone who reaches the host; narrow it to those who call them"
        )
    return policy


def _image(running: Sequence[Case], policy: dict[str, Any], result: HostWishes) -> None:
    """Wish the image: packages of the server are builds for CPUs."""
    version = policy.get("version", defaults.VERSION)
    policy["install_method"] = result.variables["tfserving_install_method"] = "image"
    result.notes["tfserving_install_method",] = "the packages that apt installs are builds for CPUs"
    # Of another release the digest would be that of another server.
    boxes = [case.container for case in running if case.known_version == version and listed(case.server.get("gpus"))]
    place, digest = next(
        ((text(box.get("image")).partition("@")[0], text(box.get("digest"))) for box in boxes if box.get("digest")),
        ("tensorflow/serving", ""),
    )
    pinned = f"{place}@{digest or 'sha256:FILL-IN'}"
    if not digest:
        why = f"nothing says which digest an image of {version} has"
        remedy = "write the digest of one for GPUs, as `skopeo inspect` prints it, into tfserving_images"
        result.unwished.append(Unwished(running[0].name, "the digest of its image", why, remedy))
    result.variables["tfserving_images"] = {version: pinned}
    # The planner asks for a digest and only hands it on.
    policy["releases"] = {"images": {version: pinned if digest else f"{place}@sha256:{'0' * 64}"}}


def _tls(running: Sequence[Case], policy: dict[str, Any], result: HostWishes) -> None:
    if not any(case.line["ssl_config_file"] for case in running):
        return
    policy["tls"] = True
    for variable in ("tfserving_tls_certificate", "tfserving_tls_key"):
        result.variables[variable] = Template(f"{{{{ vault_{variable} }}}}")
        result.secrets.append(f"vault_{variable}")
    result.notes["tfserving_tls_certificate",] = (
        "gRPC uses TLS today; its certificate and its key are in the file of ssl_config_file, and belong in a vault"
    )


def _metrics(running: Sequence[Case], policy: dict[str, Any], result: HostWishes) -> None:
    paths = {
        text(each.parsed.get("monitoring_config_file", {}).get("prometheus_config", {}).get("path")) for each in running
    } - {"", plan_policy.DEFAULTS["metrics_path"]}
    if len(paths) == 1:
        policy["metrics_path"] = paths.pop()
        result.variables["host_plan_policy"] = {"metrics_path": policy["metrics_path"]}
        result.notes["host_plan_policy",] = "whoever reads the metrics knows this path"


def _settle(
    drafts: list[_Draft], wished: list[dict[str, Any]], policy: dict[str, Any], topology: Any, result: HostWishes
) -> None:
    """Plan, compare and override until the plan is what it can be."""
    result.plan = _planned(drafts, wished, policy, topology, result)
    if result.plan is None:
        # Nothing says what a plan would differ in, so all is written that somebody has written before.
        for draft in drafts:
            draft.overrides.update({each.setting: each for each in [*effect.stated(draft.case), *draft.variables]})
        return
    # Batching decides about threads: it is settled first.
    for part in ("batching", "ports", "environment", "flags"):
        for draft, instance in zip(drafts, result.plan["instances"]):
            _override(draft, instance, part)
        plan = _planned(drafts, wished, policy, topology, result)
        if plan is None:
            return
        result.plan = plan


def _override(draft: _Draft, instance: Mapping[str, Any], part: str) -> None:
    """Add the overrides of a part of an instance that the plan needs to be what the old server is."""
    compared = [override for _row, override in effect.compared(draft.case, instance) if override]
    planned = instance["environment"]
    variables = [each for each in draft.variables if planned.get(each.path[1]) != each.value]
    for override in [*compared, *variables]:
        if override.path[0] == part and override.setting not in draft.lost:
            draft.overrides[override.setting] = override


def _planned(
    drafts: list[_Draft], wished: list[dict[str, Any]], policy: dict[str, Any], topology: Any, result: HostWishes
) -> Mapping[str, Any] | None:
    """Return the plan, without the overrides that the planner refuses; None where it refuses the host."""
    for _try in range(MOST_TRIES):
        instances = [_instance(draft) for draft in drafts]
        try:
            plan: Mapping[str, Any] = planner.host_plan(topology, instances, wished, policy)
            return plan
        except WishErrors as several:
            refusals = list(several.errors)
        except WishError as error:
            refusals = [error]
        if not any([_drop(drafts, refusal) for refusal in refusals]):
            result.unwished.append(Unwished("all servers", "a plan of this host", str(refusals[0])))
            return None
    return None


def _drop(drafts: list[_Draft], refusal: WishError) -> bool:
    """Drop the override that a refusal names, or the nearest part of it."""
    found = re.match(rf"{INSTANCES}\[(\d+)\]\.(.+)", refusal.path)
    if not found or int(found[1]) >= len(drafts):
        return False
    draft, path = drafts[int(found[1])], found[2]
    guilty = [name for name in draft.overrides if _concerns(name, path)]
    if not guilty and path.partition(".")[0] in ("flags", "batching"):
        return False
    for name in guilty:
        del draft.overrides[name]
        draft.lost[name] = f"{refusal.problem}; {refusal.remedy}"
    return bool(guilty)


def _concerns(setting: str, path: str) -> bool:
    pools = [f"flags.{pool}" for pool in effect.POOLS]
    inside = setting.startswith(f"{path}.") or path.startswith(f"{setting}[")
    return setting == path or inside or (setting in pools and path in pools)


def _instance(draft: _Draft) -> dict[str, Any]:
    """Return the wish for an instance with its overrides."""
    wish = copy(draft.wish)
    for override in draft.overrides.values():
        *parents, last = override.path
        inner = wish
        for key in parents:
            inner[key] = dict(inner.get(key, {}))
            inner = inner[key]
        inner[last] = override.value
    batching = wish.get("batching", {})
    if batching.get("enabled") is False:
        wish["batching"] = {"enabled": False}
    return wish


def _finish(drafts: list[_Draft], result: HostWishes) -> None:
    """Fill in the instances, the comparison and the reasons."""
    instances = [_instance(draft) for draft in drafts]
    result.variables[INSTANCES] = [_without_usual_ports(place, each) for place, each in enumerate(instances)]
    for place, draft in enumerate(drafts):
        for override in draft.overrides.values():
            path = (INSTANCES, str(place), *override.path)
            result.notes[path] = override.reason
        for setting, why in draft.lost.items():
            result.unwished.append(Unwished(draft.case.name, setting, why))
        if result.plan is not None:
            rows = [
                _lost(row, draft) for row, _override in effect.compared(draft.case, result.plan["instances"][place])
            ]
            result.rows.setdefault(draft.case.name, []).extend(rows)


def _lost(row: Row, draft: _Draft) -> Row:
    """Return a row with what has become of it: an equal one may be kept by an override, another be lost."""
    setting = f"flags.{row.setting}" if "." not in row.setting and "port" not in row.setting else row.setting
    setting = {"flags.batching": "batching.enabled"}.get(setting, setting.replace("port of ", "ports."))
    if row.fate == "equal" and setting in draft.overrides:
        return Row(row.setting, row.before, row.after, "kept", draft.overrides[setting].reason)
    if row.fate == "kept":
        return Row(row.setting, row.before, row.after, "lost", draft.lost.get(setting, row.reason))
    return row


def _without_usual_ports(place: int, wish: dict[str, Any]) -> dict[str, Any]:
    ports = {
        kind: port for kind, port in wish.get("ports", {}).items() if port != FIRST_PORTS[kind] + PORT_STEP * place
    }
    rest = {key: value for key, value in wish.items() if key != "ports"}
    return {**rest, "ports": ports} if ports else rest
