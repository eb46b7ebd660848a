#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the diagnosis action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnosis
short_description: Name the likely causes of slow, stuck or wrong servers
version_added: 0.2.0
description:
  - Judges the evidence that M(tfserving.fleet.diagnosis_keep) has kept by the catalogue of faults (docs/faults.md), and
    ranks what it finds.
  - Prints the report, and writes it as C(report.diagnosis.json) (docs/diagnosis-schema.json) and
    C(report.diagnosis.html) beside the evidence.
  - Runs on the controller; no host is contacted.
options:
  folder:
    description: The folder with the evidence of the hosts, a file each.
    type: path
    required: true
  against:
    description: The folder of an earlier diagnosis, to compare each host with itself.
    type: path
  asked:
    description: The hosts that were asked for evidence. The report names those that gave none.
    type: list
    elements: str
    default: []
  client:
    description: Figures that callers measured, by host and instance, with C(mean_ms), C(p99_ms) and C(entrypoint).
    type: dict
    default: {}
extends_documentation_fragment: tfserving.fleet.on_controller.files
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Diagnose the fleet
  tfserving.fleet.diagnosis:
    folder: diagnosis-20261128-081500
    against: diagnosis-20261127-081500
  run_once: true
"""

RETURN = r"""
diagnosis_exit:
  description: 0 if nothing was found, 1 with findings, 2 if no host gave two samples.
  type: int
  returned: success
files:
  description: The files of the report.
  type: list
  elements: str
  returned: success
findings:
  description: What was found, the most likely cause first.
  type: list
  elements: dict
  returned: success
"""
