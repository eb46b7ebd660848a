# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Differences between a plan and the one in force, and their effects on instances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import waiting
from . import words as values
from .sheet import Change, Difference, Verdict

Data = Mapping[str, Any]

EFFECTS = {
    "restart": "restarts",
    "reload": "hot reload",
    "adjust": "no restart",
    "none": "unchanged",
    "add": "added",
    "remove": "removed",
}

# Reported elsewhere or by other keys.
_NOT_COMPARED = ("name", "models", "server", "reasons", "overrides", "digest", "model_config")
# Keys of a model that are too long or too private to show; it is enough that they differ.
_NOT_SHOWN = ("source", "probe", "golden", "contract", "proofs")
# Keys of kernel settings and of the partition that only explain a value, or follow from the others.
_EXPLAINS = ("reason", "source", "override", "exclude", "warnings")
_NAMES = ("name", "path")
_MODEL_KEYS = ("versions", "keep", "warmup", "memory_mb", *_NOT_SHOWN)


def difference(plan: Data, previous: Data) -> Difference:
    """Return what changes from ``previous``, the plan in force (empty for none), to ``plan``."""
    waits = waiting.sentences(plan)
    if not previous:
        return Difference(True, (), tuple(Verdict(each["name"], "add", ()) for each in plan["instances"]), waits)
    before = {instance["name"]: instance for instance in previous.get("instances") or ()}
    after = {instance["name"]: instance for instance in plan["instances"]}
    verdicts = [_verdict(instance, before.get(name), plan, previous) for name, instance in after.items()]
    verdicts += [Verdict(name, "remove", ()) for name in before if name not in after]
    told = {change for verdict in verdicts for change in verdict.changes}
    host = [*_host_changes(plan, previous), *_model_changes(plan, previous)]
    return Difference(False, tuple(change for change in host if change not in told), tuple(verdicts), waits)


def _verdict(instance: Data, before: Data | None, plan: Data, previous: Data) -> Verdict:
    name = instance["name"]
    if before is None:
        return Verdict(name, "add", ())
    served = list(_changes(_served(before, previous), _served(instance, plan)))
    others = list(_changes(_compared(before, instance), _compared(instance, before)))
    if instance["digest"] != before.get("digest"):
        release = _changes(_section(previous, "server"), _section(plan, "server"))
        return Verdict(name, "restart", tuple([*release, *others, *served]))
    if served:
        return Verdict(name, "reload", tuple([*served, *others]))
    return Verdict(name, "adjust" if others else "none", tuple(others))


def _compared(instance: Data, other: Data) -> dict[str, Any]:
    """Return the figures of an instance by path, without those that only repeat another."""
    flat: dict[str, Any] = {}
    for key, value in instance.items():
        if key in _NOT_COMPARED:
            continue
        if isinstance(value, Mapping):
            # From the wishes or the plan, both are environment variables.
            shown = "environment" if key == "environment_digests" else key
            flat.update({f"{shown}.{name}": each for name, each in value.items()})
        else:
            flat[key] = value
    explained = {*instance.get("reasons", ()), *other.get("reasons", ())}
    return {path: value for path, value in flat.items() if not path.startswith("flags.") or path in explained}


def _served(instance: Data, plan: Data) -> dict[str, Any]:
    """Return the settings that a running server picks up: its models, their versions and labels."""
    on_disk = {model["name"]: model["versions"] for model in plan.get("models") or ()}
    flat: dict[str, Any] = {}
    for config in instance["model_config"]["model_config_list"]["config"]:
        prefix = f"models.{config['name']}"
        policy = config.get("model_version_policy") or {}
        flat[f"{prefix}.base_path"] = config["base_path"]
        flat[f"{prefix}.serve"] = _policy(policy)
        labels = config.get("version_labels") or {}
        flat[f"{prefix}.labels"] = [f"{label} {number}" for label, number in sorted(labels.items())]
        # With fixed versions, the server ignores others on disk.
        if "specific" not in policy:
            flat[f"{prefix}.versions"] = on_disk.get(config["name"])
    return flat


def _policy(policy: Data) -> str:
    if "specific" in policy:
        return f"versions {values.described('', policy['specific']['versions'])}"
    return "all versions" if "all" in policy else f"latest {policy.get('latest', {}).get('num_versions', 1)}"


def _host_changes(plan: Data, previous: Data) -> Iterable[Change]:
    for section in ("server", "paths", "housekeeping", "serving"):
        yield from _changes(_section(previous, section), _section(plan, section))
    for section in ("kernel", "partition"):
        yield from _changes(dict(_flat(section, previous.get(section))), dict(_flat(section, plan.get(section))))


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every figure below ``path``, list entries by name, without keys that only explain a figure.

    A record comes from a host and may contain anything.
    """
    if isinstance(value, list) and value and all(_name(each) for each in value):
        for each in value:
            yield from _flat(f"{path}.{_name(each)}", {key: part for key, part in each.items() if key not in _NAMES})
    elif isinstance(value, Mapping):
        shown = {key: each for key, each in value.items() if key not in _EXPLAINS}
        for key, each in shown.items():
            yield from _flat(path if len(shown) == 1 and key == "value" else f"{path}.{key}", each)
    elif value is not None:
        yield path, value


def _name(entry: Any) -> str:
    found = [entry[key] for key in _NAMES if key in entry] if isinstance(entry, Mapping) else []
    return str(found[0]) if found else ""


def _section(plan: Data, name: str) -> dict[str, Any]:
    # A release's name is enough: it contains the digest.
    shown = {key: value["id"] if key == "release" else value for key, value in (plan.get(name) or {}).items()}
    return {f"{name}.{key}": value for key, value in shown.items() if key != "reason"}


def _model_changes(plan: Data, previous: Data) -> Iterable[Change]:
    before, after = ({model["name"]: model for model in each.get("models") or ()} for each in (previous, plan))
    for name in dict.fromkeys([*after, *before]):
        if name not in before or name not in after:
            yield Change(f"models.{name}", *(("", "added") if name in after else ("removed", "")))
            continue
        for key in _MODEL_KEYS:
            old, new = before[name].get(key), after[name].get(key)
            if old != new and key in _NOT_SHOWN:
                yield Change(f"models.{name}.{key}", "", "changed")
            elif old != new:
                yield _change(f"models.{name}.{key}", values.described("", old), values.described("", new))


def _changes(before: Data, after: Data) -> Iterable[Change]:
    for path in dict.fromkeys([*after, *before]):
        old, new = before.get(path), after.get(path)
        if old != new:
            yield _change(
                path,
                values.described(path, old) if path in before else "",
                values.described(path, new) if path in after else "",
            )


def _change(path: str, before: str, after: str) -> Change:
    # The difference may be hidden, or beyond the part of a value that a report shows.
    return Change(path, "", "changed") if before == after else Change(path, before, after)
