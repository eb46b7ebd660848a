# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One run over a host's model repository: what is missing, what is published, what goes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..disk.space import MIB
from ..errors import WishError
from ..refusals import Refusals
from ..serving import client as serving_client
from . import ownership
from . import wanted as wanted_models
from .fetch import Bench, has_other_content, inspect, refusing, stage
from .peers.incoming import Incoming
from .sources import table as sources
from .store import Store
from .wanted import Request, Wanted


@dataclass
class Report:
    """What the module returns, while it grows."""

    changed: bool = False
    published: list[dict[str, Any]] = field(default_factory=list)
    removed: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def execute(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do what the module does; raises WishError (WishErrors for several), changes nothing in check mode.

    Where versions have to come from the controller first, returns at once with `needs` and nothing done.
    """
    store = Store(params["root"], ownership.attributes(params), params["min_free_mb"] * MIB)
    given = params["models"]
    wanted = given if params["prune"] else [{**model, "keep": None} for model in given]
    models = wanted_models.read_wanted(wanted, params["instances"], _beside(params["sources"]))
    before = {model.name: store.versions(model.name) for model in models}
    report = Report()
    if not check_mode:
        # First of all: what a refusal below leaves as it is has served all the same.
        _remember_proven(store, models)
    missing = _missing(models, store, params, report)
    needs = [_need(request, store) for request in missing if sources.of(request.source).sent]
    needs = [need for need in needs if need["key"] not in params["staged"]]
    if check_mode:
        after = _preview(store, models, missing, before, params, report)
    elif needs:
        return {"changed": False, "needs": needs, "room": store.room()}
    else:
        after = _apply(store, models, params, report)
    report.changed = bool(report.changed or report.published or report.removed)
    kept = {model["name"]: model.get("keep") for model in given}
    unsettled = bool(report.published) or any(
        _unsettled(model, kept[model.name], after[model.name], store) for model in models
    )
    result = {**vars(report), "models": after, "diff": _diff(params["root"], before, after), "unsettled": unsettled}
    return {**result, "needs": needs} if needs else result


def _beside(text: str) -> dict[str, dict[str, Any]]:
    """Return the values that are passed beside the plan. They are never shown."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and all(isinstance(entry, dict) for entry in found.values()):
        return found
    problem = "is not the JSON text of a mapping for each model"
    raise WishError("sources", problem, "give what the action host_plan returns as secrets.sources, through to_json")


def _missing(models: list[Wanted], store: Store, params: Mapping[str, Any], report: Report) -> list[Request]:
    """Return all versions to be published; raises WishErrors with everything that stands in the way."""
    refusals = Refusals()
    asked: dict[str, set[int]] = {}

    def available(model: Wanted) -> set[int]:
        if model.name not in asked:
            asked[model.name] = _available(model)
        return asked[model.name]

    def differs(request: Request) -> bool:
        return has_other_content(Bench(request, store, params))

    check = partial(wanted_models.missing_versions, store=store, available=available, differs=differs)
    found = [refusals.check(check, model, default=([], [])) for model in models]
    refusals.stop()
    report.notes = [note for _missing, notes in found for note in notes]
    return [request for missing, _notes in found for request in missing]


def _available(model: Wanted) -> set[int]:
    """Return the versions of a model that a server of this host answers for."""
    states = [serving_client.version_states(port, model.name) or {} for port in model.ports]
    return {version for found in states for version, state in found.items() if state == "AVAILABLE"}


def _need(request: Request, store: Store) -> dict[str, Any]:
    wanted = {"key": request.key, "uri": request.uri, "sha256": request.sha256, "where": request.model.where}
    published = [request.published[key] for key in ("sha256", "tree") if request.published.get(key)]
    incoming = Incoming(store, request.model.name, request.version).digest()
    demands = request.demands.plain()
    compared = not request.sha256 and not request.stale
    return {**wanted, "published": published if compared else [], "incoming": incoming, "demands": demands}


# --- check mode --------------------------------------------------------------------------------------------


def _preview(
    store: Store,
    models: list[Wanted],
    missing: list[Request],
    before: dict[str, list[int]],
    params: Mapping[str, Any],
    report: Report,
) -> dict[str, list[int]]:
    refusals = Refusals()
    for request in missing:
        refusals.check(inspect, Bench(request, store, params))
        report.published.append({"model": request.model.name, "version": request.version, "sha256": request.sha256})
    refusals.stop()
    places = [store.root, *(store.base(model.name) for model in models)]
    report.changed = any(map(store.drifted, places)) or any(
        store.leftovers(model.name, model.versions) for model in models
    )
    after = {}
    for model in models:
        coming = [request.version for request in missing if request.model is model]
        on_disk = sorted({*before[model.name], *coming})
        removed = _removable(model, on_disk, report)
        after[model.name] = [version for version in on_disk if version not in removed]
    return after


# --- change ------------------------------------------------------------------------------------------------


def _apply(store: Store, models: list[Wanted], params: Mapping[str, Any], report: Report) -> dict[str, list[int]]:
    if store.drifted(store.root):
        store.ensure(store.root)
        report.changed = True
    with store.lock():
        # Once more, now that no other run can interfere.
        missing = _missing(models, store, params, report)
        fresh = [store.base(model.name) for model in models if not os.path.isdir(store.base(model.name))]
        try:
            _prepare(store, models, report)
            _publish(store, missing, params, report)
        except BaseException:
            for base in fresh:
                with suppress(OSError):
                    os.rmdir(base)
            raise
        for model in models:
            for version in _removable(model, store.versions(model.name), report):
                store.remove(model.name, version)
        return {model.name: store.versions(model.name) for model in models}


def _remember_proven(store: Store, models: list[Wanted]) -> None:
    """Record which versions serve now. It is no change of the host: nothing but this module reads it."""
    proven = [(model.name, version) for model in models for version in _newly_proven(store, model)]
    if proven:
        with store.lock():
            for name, version in proven:
                store.prove(name, version)


def _newly_proven(store: Store, model: Wanted) -> list[int]:
    markers = {version: store.marker(model.name, version) for version in store.versions(model.name)}
    unproven = {version for version, marker in markers.items() if marker and not marker.get("proven")}
    return sorted(unproven & _available(model)) if unproven else []


def _prepare(store: Store, models: list[Wanted], report: Report) -> None:
    """Make the base paths and clear away what a dead run has left in them."""
    for model in models:
        if store.drifted(store.base(model.name)):
            store.ensure(store.base(model.name))
            report.changed = True
        for path in store.leftovers(model.name, model.versions):
            store.discard(path)
            report.changed = True


def _publish(store: Store, missing: list[Request], params: Mapping[str, Any], report: Report) -> None:
    """Make all versions ready, then let them appear."""
    with ExitStack() as staging:
        staged = []
        for request in missing:
            bench = Bench(request, store, params)
            with refusing(bench):
                if not bench.sent.get("incoming"):
                    # Part of a copy from another host, which would only take the place of what comes now.
                    Incoming(store, request.model.name, request.version).drop()
                bench.place = staging.enter_context(store.staging(request.model.name, request.version))
                staged.append(stage(bench))
        for one in staged:
            model, version = one.request.model.name, one.request.version
            with refusing(Bench(one.request, store, params)):
                if one.request.published:
                    store.remove(model, version)
                store.publish(model, version, one.tree, one.record)
            sha256 = one.record["sha256"] or one.record["tree"]
            entry = {"model": model, "version": version, "sha256": sha256}
            records = (one.record.get("warmup") or {}).get("records")
            report.published.append({**entry, "warmup": records} if records else entry)
            report.notes += one.notes
            if one.unchecked:
                report.notes.append(f"{model}: version {version} was fetched unchecked, its sha256 is {sha256}")


def _unsettled(model: Wanted, keep: int | None, on_disk: list[int], store: Store) -> bool:
    """Tell whether a call after the servers has anything to do: to remove a version, or to note that one has served."""
    markers = (store.marker(model.name, version) for version in on_disk)
    unproven = any(marker and not marker.get("proven") for marker in markers)
    return unproven or bool(wanted_models.surplus(on_disk, keep, _needed(model, on_disk)))


def _needed(model: Wanted, on_disk: list[int]) -> set[int]:
    return {*model.versions, *model.protected, *wanted_models.served(model.serve, on_disk)}


def _removable(model: Wanted, on_disk: list[int], report: Report) -> list[int]:
    """Return the versions beyond `keep` that are not needed; reports them and those that stay."""
    beyond = wanted_models.surplus(on_disk, model.keep, _needed(model, on_disk))
    reasons = _reasons_to_stay(model, beyond) if beyond else {}
    report.kept += [{"model": model.name, "version": version, "reason": reasons[version]} for version in reasons]
    removable = [version for version in beyond if version not in reasons]
    report.removed += [{"model": model.name, "version": version} for version in removable]
    return removable


def _reasons_to_stay(model: Wanted, beyond: list[int]) -> dict[int, str]:
    held = [(port, serving_client.live_versions(port, model.name)) for port in model.ports]
    for port, live in held:
        if live is None:
            asked = f"the server on REST port {port} does not answer" if port else "a server of it has no REST port"
            return dict.fromkeys(beyond, asked)
    return {version: "a server holds it" for version in beyond if any(version in (live or ()) for _port, live in held)}


def _diff(root: str, before: dict[str, list[int]], after: dict[str, list[int]]) -> dict[str, str]:
    def lines(models: dict[str, list[int]]) -> str:
        return "".join(f"{name}: {', '.join(map(str, models[name])) or 'none'}\n" for name in sorted(models))

    return {"before_header": root, "after_header": root, "before": lines(before), "after": lines(after)}
