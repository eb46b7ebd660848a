#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Silences the alerts that planned work causes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: alert_silence
short_description: Silence the alerts that planned work causes
version_added: 0.2.0
description:
  - Runs amtool on a monitoring host, so that Alertmanager tells nobody of what planned work causes.
  - A piece of work has a O(name), and one silence for each of its O(scopes), which ends by itself. Called again under
    that name, it lengthens a silence once less than half of O(minutes) is left, and ends those of scopes that are gone.
  - A silence names the alerts and what they are about. One that could hide anything else is refused.
  - Alertmanager does not decide about planned work. Where it cannot be asked, the module warns and does not fail.
options:
  name:
    description: The name of the work, the same in all runs that belong to it.
    type: str
    required: true
  state:
    description: >-
      C(present) begins or lengthens the silences of the work, C(absent) ends them, and those of work whose name begins
      with O(name) and a blank.
    type: str
    choices: [present, absent]
    default: present
  scopes:
    description:
      - What the work causes. Each is a mapping of C(alertname), and of at least one of C(model), C(serving_instance)
        and C(host), to lists of values. An alert with one of the values of each label is silenced.
    type: list
    elements: dict
    default: []
  minutes:
    description: After how many minutes from now a silence ends by itself, at most a week.
    type: float
    default: 60
  comment:
    description: What the work is, for those who look at the silences.
    type: str
    default: planned work
  url:
    description: >-
      The address of an Alertmanager elsewhere, which is asked without the account and the authority of amtool's
      configuration; empty for the one that is named there.
    type: str
    default: ""
  http_config:
    description: A file with accounts and certificates for amtool (its option C(--http.config.file)).
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Says which silences it would begin, lengthen and end.
  diff_mode:
    support: none
    description: Silences are named by Alertmanager.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Silence the skew of versions for the next half an hour
  tfserving.fleet.alert_silence:
    name: roll-out of ranker
    comment: ranker 7 to 8
    scopes:
      - {alertname: [ModelVersionSkew], model: [ranker]}
    minutes: 30

- name: End the silence
  tfserving.fleet.alert_silence:
    name: roll-out of ranker
    state: absent
"""

RETURN = r"""
added:
  description: The ids of the new silences; empty texts in check mode.
  type: list
  elements: str
  returned: always
lengthened:
  description: The ids of the silences that end later now.
  type: list
  elements: str
  returned: always
expired:
  description: The ids of the silences that were ended.
  type: list
  elements: str
  returned: always
problem:
  description: Why Alertmanager could not be asked, in a sentence; empty where it could.
  type: str
  returned: always
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.alerts import silences
from ansible_collections.tfserving.fleet.plugins.module_utils.host.process import runner


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "scopes": {"type": "list", "elements": "dict", "default": []},
            "minutes": {"type": "float", "default": 60},
            "comment": {"type": "str", "default": "planned work"},
            "url": {"type": "str", "default": ""},
            "http_config": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    wish = module.params
    work = silences.Work(wish["name"], wish["comment"], wish["scopes"], wish["minutes"])
    try:
        silences.refuse(work)
    except silences.SilenceError as error:
        module.fail_json(msg=str(error))
    amtool = silences.Amtool(runner(module), wish["url"], wish["http_config"])
    done: dict[str, list[str]] = {"added": [], "lengthened": [], "expired": []}
    problem = ""
    try:
        if wish["state"] == "present":
            done = silences.present(amtool, work, datetime.now(timezone.utc), module.check_mode)
        else:
            done = silences.absent(amtool, work.name, module.check_mode)
    except silences.SilenceError as error:
        problem = str(error)
        module.warn(f"alerts are not silenced as planned: {problem}")
    module.exit_json(changed=any(done.values()), problem=problem, **done)


if __name__ == "__main__":
    main()
