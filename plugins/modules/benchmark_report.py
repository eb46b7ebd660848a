#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the benchmark_report action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_report
short_description: Finish the document of a benchmark and show it
version_added: 0.2.0
description:
  - Joins the results of M(tfserving.fleet.benchmark) with what the host told meanwhile, compares them with an earlier
    run where that is asked for, and judges the whole.
  - Prints a table, and writes JSON, Markdown and a page to files on the controller.
  - Runs on the controller; no host is contacted.
options:
  output:
    description: The files to write, without C(.json), C(.md) and C(.html). The first one holds the results.
    type: path
    required: true
  against:
    description: The JSON file of an earlier run to compare with.
    type: path
  despite_differences:
    description: Whether runs under different conditions are compared all the same.
    type: bool
    default: false
  evidence:
    description: What M(tfserving.fleet.host_samples) returned for each instance that was measured.
    type: list
    elements: dict
    required: true
extends_documentation_fragment: tfserving.fleet.on_controller.files
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Show the results
  tfserving.fleet.benchmark_report:
    output: benchmark-ranker
    evidence: ["{{ samples }}"]
  run_once: true
"""

RETURN = r"""
verdict:
  description: Whether the run is V(valid) or V(invalid).
  type: str
  returned: success
files:
  description: The files that were written.
  type: list
  elements: str
  returned: success
"""
