#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Tries other settings for one instance for a while, with a way back that needs nobody."""

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_trial
short_description: Try other settings for one instance for a while
version_added: 0.2.0
description:
  - Starts the server of one instance with other arguments than its plan has, to measure it, and later with those of the
    plan again. Files below C(/etc) are neither read for that nor changed; everything is a drop-in and files below
    C(/run), which a boot clears.
  - Before anything is changed, a timer of systemd is armed that ends the trial after O(expires_s), whatever becomes of
    the controller or of this module. Each further call with O(state=present) or O(state=renewed) postpones it.
  - A trial whose server does not come to serve is ended by the same call, which fails with the server's last lines.
  - M(tfserving.fleet.serving_instances) ends a trial that it finds in force.
  - What is tried cannot change the server's binary, its account, its limits or its environment.
options:
  instance:
    description: The name of the instance. It must be in the plan in force, and serve it when the first trial begins.
    type: str
    required: true
  state:
    description:
      - V(present) lets the server run with O(arguments) and waits until it serves.
      - V(renewed) only postpones the end of the trial.
      - V(absent) ends the trial and waits until the plan's settings serve. Without O(owner) it ends anybody's.
      - V(queried) says what is in force.
    type: str
    default: present
    choices: [present, renewed, absent, queried]
  arguments:
    description:
      - The arguments of the server, without its program. The ports must be those of the plan.
      - Files of the trial are named by their path, C(/run/tfserving-trial/INSTANCE/NAME).
    type: list
    elements: str
    default: []
  files:
    description: Files of the trial by their names, each with its content. They replace those of the trial before it.
    type: dict
    default: {}
  versions:
    description:
      - Versions of models for this trial, one of a model. Each shares the files of a real version, but those in
        C(files), such as C(batching_params.pbtxt) (servers since 2.11), and has a number of its own.
      - The server finds them below C(/run/tfserving-trial/INSTANCE/models/MODEL). That needs a file V(models.config) in
        O(files) with this base path, and O(arguments) with C(--model_config_file) that names it.
      - Where only these differ from the trial in force, the server is not restarted, and loads the new version by
        itself. Its number must be above the one before.
    type: list
    elements: dict
    default: []
    suboptions:
      model: {description: The model., type: str, required: true}
      version: {description: The real version., type: int, required: true}
      as: {description: The number of the trial's version., type: int, required: true}
      files:
        description: Files that replace or join those of the real version, by their names.
        type: dict
        default: {}
      max_batch_size:
        description:
          - The size of batches that C(files) ask for. The version is then asked for one row more, which the server must
            refuse with this size; otherwise the trial is ended.
          - V(0) asks for nothing.
        type: int
        default: 0
  expires_s:
    description:
      - Seconds after which the trial ends by itself, counted from the end of this call. While the server is started,
        its start timeout is added.
    type: int
    default: 900
  owner:
    description:
      - An id of the one who tries, the same for all trials of a series. As long as a trial is in force, others are
        refused.
      - Required with O(state=present) and O(state=renewed).
    type: str
    default: ""
  probe:
    description: Whether each model must answer a prediction before the server counts as serving.
    type: bool
    default: true
  record:
    description: The plan in force on the host.
    type: path
    default: /etc/tfserving/plan.json
extends_documentation_fragment: []
attributes:
  check_mode:
    support: full
    description: Refuses what it would refuse, and says whether it would change the settings in force.
  diff_mode:
    support: none
    description: No file of the plan changes.
seealso:
  - module: tfserving.fleet.serving_instances
  - module: tfserving.fleet.host_samples
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Try one batch thread
  tfserving.fleet.instance_trial:
    instance: ranker
    owner: tune-20260131
    arguments:
      - --port=8500
      - --rest_api_port=8501
      - --model_config_file=/etc/tfserving/ranker/models.config
      - --enable_batching=true
      - --batching_parameters_file=/run/tfserving-trial/ranker/batching.config
    files:
      batching.config: |
        max_batch_size { value: 64 }
        batch_timeout_micros { value: 0 }
        num_batch_threads { value: 1 }

- name: Try another batch size of one model without a restart
  tfserving.fleet.instance_trial:
    instance: ranker
    owner: tune-20260131
    arguments:
      - --port=8500
      - --rest_api_port=8501
      - --enable_per_model_batching_parameters=true
      - --model_config_file=/run/tfserving-trial/ranker/models.config
    files:
      models.config: |
        model_config_list { config {
          name: "ranker" base_path: "/run/tfserving-trial/ranker/models/ranker" model_platform: "tensorflow"
        } }
    versions:
      - model: ranker
        version: 7
        as: 1002
        files:
          batching_params.pbtxt: "max_batch_size { value: 128 }"
        max_batch_size: 128

- name: Let the trial go on for another quarter of an hour
  tfserving.fleet.instance_trial:
    instance: ranker
    owner: tune-20260131
    state: renewed

- name: Bring the plan's settings back
  tfserving.fleet.instance_trial:
    instance: ranker
    state: absent
"""

RETURN = r"""
in_force:
  description: Whether a trial is in force after the call.
  returned: always
  type: bool
owner:
  description: Who began it; empty without one.
  returned: always
  type: str
digest:
  description: A digest of its arguments and files; empty without one.
  returned: always
  type: str
armed:
  description: Whether a timer is waiting to end it.
  returned: always
  type: bool
pid:
  description: The server's process; 0 without one.
  returned: always
  type: int
runs:
  description: Whose settings the process was started with, V(trial), V(plan), V(other) or V(nothing) where none runs.
  returned: always
  type: str
command:
  description: The command line of the process.
  returned: always
  type: list
  elements: str
memory:
  description: C(rss_mb) of the process and C(available_mb) of the host, in MiB; null where the kernel does not tell.
  returned: always
  type: dict
sample:
  description: A sample as M(tfserving.fleet.host_samples) takes it, without clocks and GPUs.
  returned: with O(state=renewed)
  type: dict
waited_s:
  description: Seconds until it served.
  returned: where a trial was begun, or a version of it
  type: float
log:
  description: The last lines that the server wrote to the journal.
  returned: where it does not serve
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.trial.conduct import Trial, TrialError

VERSION = {
    "model": {"type": "str", "required": True},
    "version": {"type": "int", "required": True},
    "as": {"type": "int", "required": True},
    "files": {"type": "dict", "default": {}},
    "max_batch_size": {"type": "int", "default": 0},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str", "required": True},
            "state": {"type": "str", "default": "present", "choices": ["present", "renewed", "absent", "queried"]},
            "arguments": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "dict", "default": {}},
            "versions": {"type": "list", "elements": "dict", "default": [], "options": VERSION},
            "expires_s": {"type": "int", "default": 900},
            "owner": {"type": "str", "default": ""},
            "probe": {"type": "bool", "default": True},
            "record": {"type": "path", "default": "/etc/tfserving/plan.json"},
        },
        supports_check_mode=True,
    )
    try:
        result = Trial(module.params, process_facts.runner(module), module.check_mode).conduct()
    except TrialError as error:
        module.fail_json(**error.result)
    except (OSError, RuntimeError, WishError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
