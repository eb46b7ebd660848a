# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Installs one release on a host: looked up, built aside and published by one rename."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..disk.space import FULL
from . import archive as release_archive
from . import ids as release_ids
from . import image as release_image
from . import package as release_package
from . import tree as release_tree
from .job import Job, Run
from .store import Store

BUILDERS = {"image": release_image.build, "archive": release_archive.build, "apt": release_package.build}


def install(params: Mapping[str, Any], check_mode: bool, run: Run) -> dict[str, Any]:
    """Return the module's result. Raises WishError, leaving nothing behind. Check mode changes nothing."""
    plan = planned(params)
    store = Store(params["root"])
    found = store.present(plan)
    if found is None and not check_mode:
        with store.lock(params["lock_timeout"]):
            # Again, now that no other run can interfere.
            found = store.present(plan)
            if found is None:
                store.sweep()
                return _result(plan, _built(plan, params, store, run), changed=True)
    return _result(plan, found or _foretold(plan, params), changed=found is None)


def planned(params: Mapping[str, Any]) -> release_ids.Release:
    """Return the release that the module's options select. Raises WishError."""
    version, method, root, binary = (params[name] for name in ("version", "method", "root", "binary"))
    if method == "image":
        return release_ids.of_image(version, params["image"], root, binary)
    if method == "archive":
        uri = params["archive_uri"] or params["archive"]
        return release_ids.of_archive(version, uri, params["archive_sha256"], binary, root)
    return release_ids.of_package(version, params["package"], root)


def _built(plan: Mapping[str, Any], params: Mapping[str, Any], store: Store, run: Run) -> dict[str, Any]:
    variable = {"image": release_ids.IMAGES, "archive": release_ids.ARCHIVES}.get(params["method"])
    where = f"{variable}.{params['version']}" if variable else release_ids.VERSION
    try:
        with store.staging(plan["id"]) as place:
            facts = BUILDERS[params["method"]](
                Job(where, plan, params, store, place, release_tree.host_architecture(), run)
            )
            record = {**_foretold(plan, params), **facts, "size_bytes": release_tree.size(place)}
            del record["path"]
            store.publish(place, record)
    except OSError as error:
        if error.errno in FULL:
            raise store.too_full(None, where) from error
        raise
    return {**record, "path": plan["path"]}


def _foretold(plan: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts about a release that are known before it is built.

    Of an image's environment only LD_LIBRARY_PATH matters to the server; ``environment`` is reserved for later use.
    """
    return {**plan, "method": params["method"], "version": params["version"], "environment": {}}


def _result(plan: Mapping[str, Any], release: Mapping[str, Any], changed: bool) -> dict[str, Any]:
    line = f"{plan['id']} from {plan['source']}\n"
    diff = {
        "before_header": plan["path"],
        "after_header": plan["path"],
        "before": "" if changed else line,
        "after": line,
    }
    return {"changed": changed, "release": dict(release), "diff": diff}
