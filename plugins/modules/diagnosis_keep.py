#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the diagnosis_keep action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnosis_keep
short_description: Keep the evidence of a diagnosis, and read it back
version_added: 0.3.0
description:
  - Writes the evidence of M(tfserving.fleet.diagnosis_evidence) to a folder on the controller, a file a host that its
    owner alone may read, or reads a folder of an earlier diagnosis.
  - Files are read as untrusted, with limits of size and depth, and refused where they do not have the shape of
    evidence.
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
  read:
    description: Whether to read the folder. Excludes O(evidence).
    type: bool
    default: false
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

- name: Read the evidence of yesterday
  tfserving.fleet.diagnosis_keep:
    folder: diagnosis-20261127-080000
    read: true
  register: diagnosis_yesterday
  run_once: true
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
evidence:
  description: The evidence that was read, by host.
  returned: success
  type: dict
"""
