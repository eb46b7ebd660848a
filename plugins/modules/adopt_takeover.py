#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the adopt_takeover action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt_takeover
short_description: Decide which old servers of a host end or come back
version_added: 0.2.0
description:
  - Compares the report of M(tfserving.fleet.adopt) with a new survey of the host. Refuses a server that has changed
    since it was adopted, one whose new instance does not run or does not serve what it serves, and one whose ports are
    taken.
  - Runs on the controller; no host is contacted.
options:
  folder:
    description: The folder that M(tfserving.fleet.adopt) wrote.
    type: path
    required: true
  survey:
    description: The C(survey) of M(tfserving.fleet.serving_survey), of now.
    type: dict
    required: true
  only:
    description: The old servers, by the names of the report. All of the host by default.
    type: list
    elements: str
    default: []
  state:
    description: V(stopped) for a take-over, V(started) for the way back.
    type: str
    choices: [stopped, started]
    required: true
extends_documentation_fragment: tfserving.fleet.on_controller
seealso:
  - module: tfserving.fleet.serving_takeover
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Determine the steps
  tfserving.fleet.adopt_takeover:
    folder: adopted
    survey: "{{ serving_survey.survey }}"
    state: stopped
  register: adopt_takeover
"""

RETURN = r"""
steps:
  description:
    - A step for each old server, with C(server), C(instance), C(kind), C(name) and C(callers), the ports by which it is
      called; to stop it, also with C(pid), C(argv_sha256), C(definition), C(ports) and C(new).
  returned: success
  type: list
  elements: dict
"""
