#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the profile_report action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: profile_report
short_description: Show the memory of an instance around a trace
version_added: 0.2.0
description:
  - Writes a page beside the trace, of what the server and its GPUs held before, during and after it.
  - Runs on the controller; no host is contacted.
options:
  instance:
    description: The name of the instance.
    type: str
    required: true
  host:
    description: The name of its host.
    type: str
    required: true
  captured:
    description: What M(tfserving.fleet.profile) returned for the trace.
    type: dict
    required: true
  samples:
    description: What M(tfserving.fleet.host_samples) returned with C(memory).
    type: list
    elements: dict
    required: true
extends_documentation_fragment: tfserving.fleet.on_controller.files
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Record the memory
  tfserving.fleet.profile_report:
    instance: ranker
    host: gpu-a01
    captured: "{{ profile_result }}"
    samples: "{{ sampling.samples }}"
  run_once: true
"""

RETURN = r"""
page:
  description: The path of the page on the controller.
  returned: success
  type: str
"""
