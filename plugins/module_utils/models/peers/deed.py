# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the module model_peer does on a host, by its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...disk.space import MIB
from ...errors import RefusalError
from ...host.run import Run
from ...host.sysfs import Tree
from .. import ownership
from ..store import Store
from . import manifest as manifests
from . import offer, rate
from .incoming import Incoming
from .pull import Holder, HolderError, pull


def carry_out(params: Mapping[str, Any], run: Run, tree: Tree) -> dict[str, Any]:
    """Return the module's result. Raises WishError for options that this host cannot grant."""
    store = Store(params["root"], ownership.attributes(params), params["min_free_mb"] * MIB)
    return _STATES[params["state"]](params, store, run, tree)


def _query(params: Mapping[str, Any], store: Store, _run: Run, _tree: Tree) -> dict[str, Any]:
    return {"changed": False, "here": {model["name"]: _here(model, store) for model in params["models"]}}


def _here(model: Mapping[str, Any], store: Store) -> dict[str, str]:
    published = store.versions(model["name"])
    found = {}
    for version in model["versions"]:
        if version in published:
            found[str(version)] = "published"
        elif Incoming(store, model["name"], version).digest():
            found[str(version)] = "verified"
    return found


def _offer(params: Mapping[str, Any], store: Store, run: Run, tree: Tree) -> dict[str, Any]:
    speed, note = rate.of_share(run, tree, params["address"], params["share"] / 100)
    terms = offer.Terms(
        **{key: params[key] for key in ("address", "port", "reader", "token", "cpus")},
        rate=speed,
        longest_s=params["limit_s"],
    )
    told = {"rate": round(speed), "notes": [note] if note else []}
    try:
        offer.begin(run, store, params["model"], params["version"], manifests.read(params["manifest"]), terms)
    except RefusalError as refusal:
        return {"changed": False, "complete": False, "failure": str(refusal), "own": True, **told}
    return {"changed": True, "complete": True, "failure": "", "own": False, **told}


def _withdraw(_params: Mapping[str, Any], _store: Store, run: Run, _tree: Tree) -> dict[str, Any]:
    return {"changed": offer.end(run)}


def _pull(params: Mapping[str, Any], store: Store, _run: Run, _tree: Tree) -> dict[str, Any]:
    holder = Holder(params["address"], params["port"], params["token"], params["reader"], limit_s=params["limit_s"])
    try:
        done = pull(store, params["model"], params["version"], manifests.read(params["manifest"]), holder)
    except HolderError as error:
        return {"changed": True, "complete": False, "failure": str(error), "own": False}
    except RefusalError as refusal:
        return {"changed": True, "complete": False, "failure": str(refusal), "own": True}
    return {"changed": bool(done.received), "complete": True, "failure": "", "own": False, **vars(done)}


_STATES = {"query": _query, "offer": _offer, "withdraw": _withdraw, "pull": _pull}
