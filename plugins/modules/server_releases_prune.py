#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Removes releases of the server that a host no longer needs."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: server_releases_prune
short_description: Remove old releases of TensorFlow Serving that nothing uses
version_added: 0.1.0
description:
  - Removes the releases that M(tfserving.fleet.server_release) installed, beyond the newest O(keep).
  - Never removes one that O(in_use) names, that a process runs from, or below which something is mounted.
  - Removes what killed runs have left behind, too.
options:
  root:
    description: Directory with one directory a release.
    type: path
    default: /opt/tfserving/releases
  keep:
    description: How many of the releases stay, counted from the one installed last.
    type: int
    default: 3
  in_use:
    description: Names (C(id)) of releases that stay in any case, those that units are set up to start.
    type: list
    elements: str
    required: true
author:
  - tfserving.fleet contributors (@tfserving)
attributes:
  check_mode:
    description: Says what would be removed.
    support: full
  diff_mode:
    description: Shows the releases before and after.
    support: full
notes:
  - Needs root, to see the processes of all users. Only one run at a time works on the releases of a host.
seealso:
  - module: tfserving.fleet.server_release
"""

EXAMPLES = r"""
- name: Keep the release in use and the one before it
  tfserving.fleet.server_releases_prune:
    keep: 2
    in_use: ["{{ release.release.id }}"]
"""

RETURN = r"""
removed:
  description: Names of the releases that were removed.
  returned: success
  type: list
  elements: str
  sample: [serving@sha256-0123456789abcdef]
kept:
  description: Releases beyond O(keep) that stayed though O(in_use) does not name them, with the reason.
  returned: success
  type: dict
  sample: {serving@sha256-0123456789abcdef: process 812 runs from it}
swept:
  description: Names of leftovers of killed runs that were removed; in check mode empty while another run is at work.
  returned: success
  type: list
  elements: str
releases:
  description: Names of the releases after the run, the newest first.
  returned: success
  type: list
  elements: str
freed_bytes:
  description: Bytes that the removed releases took, by their records.
  returned: success
  type: int
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils import defaults
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.store import Store
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.use import reasons_to_stay, surplus

ARGUMENTS = {
    "root": {"type": "path", "default": defaults.RELEASES},
    "keep": {"type": "int", "default": 3},
    "in_use": {"type": "list", "elements": "str", "required": True},
}


def prune(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do what the module does; raises WishError, changes nothing in check mode."""
    if params["keep"] < 0:
        raise WishError("keep", f"{params['keep']} is not a number of releases", "use 0 or more")
    store = Store(params["root"])
    with ExitStack() as held:
        # Nothing there: no directory is made just to find that out.
        if os.path.isdir(store.root) and not check_mode:
            held.enter_context(store.lock())
        before = store.releases()
        beyond = surplus(before, params["keep"], params["in_use"])
        kept = reasons_to_stay(store, beyond)
        removed = [name for name in beyond if name not in kept]
        freed = sum(store.record(name).get("size_bytes", 0) for name in removed)
        swept = _leftovers(store) if check_mode else store.sweep()
        for name in () if check_mode else removed:
            store.remove(name)
    after = [name for name in before if name not in removed]
    return {
        "changed": bool(removed or swept),
        "removed": removed,
        "kept": kept,
        "swept": swept,
        "releases": after,
        "freed_bytes": freed,
        "diff": _diff(store.root, before, after),
    }


def _leftovers(store: Store) -> list[str]:
    """Return what would be swept; what belongs to a running run is not."""
    if not store.leftovers():
        return []
    try:
        with store.lock():
            return [os.path.basename(path) for path in store.leftovers()]
    except WishError:
        return []


def _diff(root: str, before: list[str], after: list[str]) -> dict[str, str]:
    def lines(names: list[str]) -> str:
        return "".join(f"{name}\n" for name in sorted(names))

    return {"before_header": root, "after_header": root, "before": lines(before), "after": lines(after)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        result = prune(module.params, module.check_mode)
    except WishError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        place = error.filename or module.params["root"]
        module.fail_json(msg=f"{place}: {error.strerror or error}; check that host's files")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
