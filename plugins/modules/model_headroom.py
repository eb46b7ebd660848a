#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks that memory holds a version before it is loaded; how is in module_utils/models/headroom.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_headroom
short_description: Check that the memory of a host holds a version before it is loaded
version_added: 0.2.0
description:
  - Compares what versions that are not loaded yet will take with what the host has available at this moment
    (C(MemAvailable)) and with what the limit of each instance leaves its process.
  - A version takes 1.2 times its files on disk, or C(memory_mb) of its model where that is more, in each instance that
    serves it. One that is not on disk counts with C(memory_mb) alone.
  - Both versions of a model are in one process, so that the kernel would kill the one in force together with one that
    is too large.
options:
  plan:
    description: The plan of the host that is to be put in force, as the role P(tfserving.fleet.host_plan#role) made it.
    type: dict
    required: true
  model:
    description: The model whose versions are to be loaded. Its C(serve) names versions by number.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: tfserving.fleet.model_repository
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Check the memory for the new version
  tfserving.fleet.model_headroom:
    plan: "{{ tfserving_plan }}"
    model: ranker
"""

RETURN = r"""
needs:
  description: For each instance that has to load a version C(mb), what that takes, and C(left_mb), what its limit
    leaves.
  returned: success
  type: dict
available_mb:
  description: What the host has available, in MiB; null where the kernel does not tell.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.plain_files import fits
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import memory
from ansible_collections.tfserving.fleet.plugins.module_utils.host.process import PROC
from ansible_collections.tfserving.fleet.plugins.module_utils.models import headroom
from ansible_collections.tfserving.fleet.plugins.module_utils.models.store import Store
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.units import Units

UNIT = "tfserving@{name}.service"
_PLAN = {
    "paths": {"models": str},
    "models": [{"name": str, "path": str, "serve": {"versions?": [int]}, "memory_mb?": (int, type(None))}],
    "instances": [{"name": str, "models": [str], "ports": {"rest": int}}],
}


def checked(plan: dict[str, Any], name: str, pid: headroom.Pid, proc: str) -> dict[str, Any]:
    """Return the module's result. Raises WishError for what does not fit, and for no plan."""
    if not fits(plan, _PLAN):
        raise WishError("plan", "is not the plan of a host", "give what the role host_plan has made")
    model = next((each for each in plan["models"] if each["name"] == name), None)
    if model is None:
        raise WishError("model", f"is {name!r}, which the plan does not have", "name a model of the plan")
    if "versions" not in model["serve"]:
        raise WishError("model", f"is {name!r}, whose versions are not served by number", "name another model")
    found = headroom.needs(Store(plan["paths"]["models"]), model, plan["instances"], pid, proc)
    available = memory.read(proc, 0)["available_mb"]
    headroom.check(model, found, available)
    told = {need.instance: {"mb": need.mb, "left_mb": need.left_mb} for need in found}
    return {"changed": False, "needs": told, "available_mb": available}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "plan": {"type": "dict", "required": True},
            "model": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    units = Units(module.run_command, UNIT)
    try:
        result = checked(module.params["plan"], module.params["model"], lambda name: units.show(name).pid, str(PROC))
    except (WishError, RuntimeError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
