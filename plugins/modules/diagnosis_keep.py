#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the diagnosis_keep action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnosis_keep
short_description: Keep the evidence of a diagnosis
version_added: 0.2.0
description:
  - Writes the evidence of M(tfserving.fleet.diagnosis_evidence) to a folder on the controller, a file a host that its
    owner alone may read. M(tfserving.fleet.diagnosis) reads it.
  - Runs on the controller; no host is contacted.
options:
  folder:
    description: The folder. Without it, one with the time in its name, which the result tells.
    type: path
  evidence:
    description: The evidence of one host, to be written.
    type: dict
  probes:
    description:
      - What M(tfserving.fleet.diagnosis_probe) returned for the host, when it started its probes and when it fetched
        them. It is kept with the evidence.
    type: list
    elements: dict
    default: []
  unprobed:
    description: Why nothing was probed.
    type: str
    default: ""
extends_documentation_fragment: tfserving.fleet.on_controller.files
seealso:
  - module: tfserving.fleet.diagnosis_evidence
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Name the folder of this diagnosis
  tfserving.fleet.diagnosis_keep:
  register: diagnosis_place
  run_once: true

- name: Keep the evidence
  tfserving.fleet.diagnosis_keep:
    folder: "{{ diagnosis_place.folder }}"
    evidence: "{{ diagnosis_evidence.evidence }}"
"""

RETURN = r"""
folder:
  description: The folder, as an absolute path.
  returned: success
  type: str
path:
  description: The file that was written; null if none was.
  returned: success
  type: str
"""
