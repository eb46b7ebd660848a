#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Waits until the instances of a host serve what the plan says, and proves it by a prediction."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_status
short_description: Wait until instances serve what they should, or report the server's own error
version_added: 0.1.0
description:
  - Runs on the serving host and asks each instance over REST on loopback.
  - An instance is ready when every wanted version is C(AVAILABLE), every other version is at its C(END), every label
    answers from its version, and each model answers a real prediction. Status 200 alone proves nothing, the server
    gives it while loading and after a failure too.
  - Wanted versions follow from the version policy in the instance's model config and the versions on disk.
  - Gives up early when the unit is dead or keeps dying, when a load failed for good, when a wanted version is not on
    disk, and when another process answers on the REST port.
  - Changes nothing.
options:
  only:
    description: Names of the instances to wait for. All of O(instances) when left out.
    type: list
    elements: str
  timeout:
    description:
      - Seconds to wait. When left out, each instance's own C(start_timeout_s) is used.
    type: int
  probe:
    description:
      - Whether each model must answer predictions, its C(golden) requests, its own C(probe), or else zeros in the shape
        of its signature.
      - Every golden request has to be right. None is sent again because its answer was wrong.
      - A model for which no request can be generated, or which refuses zeros as invalid, is not proven, and that is a
        failure. Give such a model a C(probe), or C(probe=false) to serve it without proof.
    type: bool
    default: true
extends_documentation_fragment:
  - tfserving.fleet.serving_plan
attributes:
  check_mode:
    support: full
    description: Takes one look without waiting, reports what it finds and never fails because of it.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: tfserving.fleet.instance_status
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Wait until the restarted instance serves
  tfserving.fleet.model_status:
    instances: "{{ tfserving_plan.instances }}"
    models: "{{ tfserving_plan.models }}"
    only: [ranker]

- name: See whether the models are loaded, without a prediction
  tfserving.fleet.model_status:
    instances: "{{ tfserving_plan.instances }}"
    timeout: 60
    probe: false
"""

RETURN = r"""
instances:
  description: What each instance served at the last look.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The instance.
      type: str
    models:
      description: Per model its C(name), C(versions), C(labels) and, once asked, C(probe).
      type: list
      elements: dict
      sample:
        - name: ranker
          versions: [{version: 7, state: AVAILABLE, error: ""}]
          labels: {stable: 7}
          probe: {ok: true, latency_ms: 1.8, median_ms: 1.8, answer: "[[0.5]]",
                  golden: 3 of 3 requests of golden/ranker.jsonl}
    problem:
      description: What is not as it should be; empty for a ready instance.
      type: str
    waited_s:
      description: Seconds until the instance was ready, or until the last look.
      type: float
log:
  description: The last lines that the failed server wrote to the journal.
  returned: failure
  type: list
  elements: str
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils import defaults
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, nearest
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import check as serving_check
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import watch as serving_watch
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.watch import DEFAULT_TIMEOUT_S, Watch


def chosen(instances: Sequence[Mapping[str, Any]], only: Sequence[str] | None) -> list[Mapping[str, Any]]:
    """Return the instances named in ``only``, in the plan's order; all without it. Raises WishError."""
    names = [instance["name"] for instance in instances]
    for name in only or []:
        if name not in names:
            raise WishError("only", f"{name!r} is not an instance of this host", nearest(name, names) or "see the plan")
    found = [instance for instance in instances if only is None or instance["name"] in only]
    for instance in found:
        if not instance.get("ports", {}).get("rest"):
            path = f"instances.{instance['name']}.ports.rest"
            raise WishError(path, "is off, and only REST tells the state of a model", "give it a port")
    return found


def watch_all(module: AnsibleModule) -> list[Watch]:
    """Return a watch for every chosen instance."""
    wishes = module.params
    run = process_facts.runner(module)
    return [
        Watch(
            instance,
            serving_check.expectations(instance, wishes["models"], wishes["model_root"]),
            wishes["unit_template"].replace("{name}", instance["name"]),
            wishes["probe"],
            run,
        )
        for instance in chosen(wishes["instances"], wishes["only"])
    ]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instances": {"type": "list", "elements": "dict", "required": True},
            "models": {"type": "list", "elements": "dict", "default": []},
            "only": {"type": "list", "elements": "str"},
            "timeout": {"type": "int"},
            "model_root": {"type": "path", "default": defaults.MODELS},
            "unit_template": {"type": "str", "default": "tfserving@{name}.service"},
            "probe": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    try:
        watches = watch_all(module)
    except WishError as error:
        module.fail_json(msg=str(error))
    if module.check_mode:
        for watch in watches:
            watch.survey()
        module.exit_json(changed=False, instances=[watch.report() for watch in watches])
    own = {entry["name"]: entry.get("start_timeout_s", DEFAULT_TIMEOUT_S) for entry in module.params["instances"]}
    timeout = module.params["timeout"]
    given_up = serving_watch.wait(watches, own if timeout is None else dict.fromkeys(own, timeout))
    reports = [watch.report() for watch in watches]
    if given_up:
        module.fail_json(**serving_watch.failure(*given_up), instances=reports)
    module.exit_json(changed=False, instances=reports)


if __name__ == "__main__":
    main()
